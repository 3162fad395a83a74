
#include "ngx_http_billing_status_label.h"
#include "ngx_http_billing_json.h"


ngx_int_t
ngx_http_billing_status_server_label(ngx_pool_t *pool,
    ngx_http_billing_redis_peer_t *peer, ngx_str_t *label)
{
    size_t  size;

    size = peer->name.len + sizeof("?db=") - 1 + peer->db.len;

    label->data = ngx_pnalloc(pool, size);
    if (label->data == NULL) {
        return NGX_ERROR;
    }

    label->len = ngx_http_billing_status_server_write(label->data,
                                                      label->data + size, peer);

    return NGX_OK;
}


size_t
ngx_http_billing_status_server_write(u_char *buf, u_char *last,
    ngx_http_billing_redis_peer_t *peer)
{
    u_char     *p;
    ngx_str_t   label;

    p = peer->db.len
        ? ngx_slprintf(buf, last, peer->port ? "%V/%V" : "%V?db=%V",
                       &peer->name, &peer->db)
        : ngx_slprintf(buf, last, "%V", &peer->name);

    label.len = p - buf;
    label.data = buf;

    ngx_http_billing_status_label_utf8(&label);

    return label.len;
}


void
ngx_http_billing_status_label_utf8(ngx_str_t *label)
{
    size_t  i;

    if (ngx_http_billing_json_utf8_length(label) != NGX_ERROR) {
        return;
    }

    for (i = 0; i < label->len; i++) {
        if (label->data[i] >= 0x80) {
            label->data[i] = '?';
        }
    }
}


u_char *
ngx_http_billing_status_label(u_char *p, const char *name, ngx_str_t *value)
{
    size_t  i;

    p = ngx_sprintf(p, "%s=\"", name);

    for (i = 0; i < value->len; i++) {

        switch (value->data[i]) {

        case LF:
            *p++ = '\\';
            *p++ = 'n';
            break;

        case '\\':
        case '"':
            *p++ = '\\';
            *p++ = value->data[i];
            break;

        default:
            *p++ = value->data[i];
        }
    }

    *p++ = '"';

    return p;
}
