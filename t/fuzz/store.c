
/*
 * The store against a model that is too simple to be wrong. The input is a
 * digit (0: a large store, 1: one in which records are evicted all the time),
 * and then three bytes for each step: what is done, to which key and kind, and
 * how much. In the large store everything that the model knows has to be
 * found; in the small one what is found has to be what the model knows.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#define NGX_HTTP_BILLING_STORE_BUCKETS  2
#define NGX_HTTP_BILLING_STORE_SOURCES  2

#include "../../src/cache/ngx_http_billing_store.c"
#include "../../src/cache/ngx_http_billing_store_table.c"


#define check(expr)                                                           \
    if (!(expr)) {                                                            \
        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #expr);    \
        abort();                                                              \
    }

#define KINDS   3
#define KEYS    24
#define HELD    16

/* the source of a key */

#define source_of(key)  ((key) % 2)

#define LARGE   (1 << 20)
#define SMALL   4096

#define JSON    490
#define CAMERAS 100000


typedef struct {
    int                        valid;
    size_t                     len;
    u_char                     fill;
    int64_t                    deadline;
} model_t;


/* a reference: of a record that is read, or of a place, with what is known */

typedef struct {
    ngx_http_billing_entry_t  *entry;
    ngx_uint_t                 kind;
    ngx_uint_t                 key;
    int                        place;
    int                        alive;
    size_t                     len;
    u_char                     fill;
} held_t;


static model_t                    now_is[KINDS][KEYS], kept[KINDS][KEYS];
static int                        keeps[2];
static held_t                     held[HELD];
static int64_t                    now;
static u_char                     keys[KEYS][200];
static ngx_str_t                  names[KEYS];
static u_char                     buf[65536];
static int                        large;
static size_t                     size;
static ngx_http_billing_store_t  *store;
static u_char                     seed[NGX_HTTP_BILLING_STORE_SEED];


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_store(void)
{
    size_t                     bytes, dropped;
    ngx_uint_t                 n, i, j;
    ngx_queue_t               *q;
    ngx_http_billing_entry_t  *entry;

    bytes = ngx_http_billing_store_heap(sizeof(ngx_http_billing_store_t))
            + ngx_http_billing_store_heap(store->table.buckets
                                          * sizeof(void *));

    if (store->table.old) {
        bytes += ngx_http_billing_store_heap(store->table.buckets / 2
                                             * sizeof(void *));
    }

    n = 0;

    for (q = ngx_queue_head(&store->queue);
         q != ngx_queue_sentinel(&store->queue);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, ngx_http_billing_entry_t, queue);

        check(!entry->dropped);
        check(entry->ready || entry->refs);

        bytes += ngx_http_billing_store_heap(
                           ngx_http_billing_store_entry_size(entry->key_len,
                                                             entry->len));
        n++;
    }

    check(n == store->stat.entries);

    dropped = 0;

    for (i = 0; i < HELD; i++) {

        if (held[i].entry == NULL || !held[i].entry->dropped) {
            continue;
        }

        for (j = 0; j < i && held[j].entry != held[i].entry; j++) { /* void */ }

        if (j == i) {
            entry = held[i].entry;
            dropped += ngx_http_billing_store_heap(
                           ngx_http_billing_store_entry_size(entry->key_len,
                                                             entry->len));
        }
    }

    check(dropped == store->stat.dropped_bytes);
    check(bytes + dropped == store->stat.bytes);
    check(store->stat.bytes <= size);
}


static void
check_record(ngx_http_billing_entry_t *entry, size_t len, u_char fill)
{
    size_t   i;
    u_char  *p;

    check(entry->len == len);

    p = ngx_http_billing_store_data(entry);
    check((uintptr_t) p % 8 == 0);

    for (i = 0; i < len; i++) {
        check(p[i] == (u_char) (fill + i));
    }
}


/* what there is for one question, as a record of the model, or NULL */

static model_t *
expected(ngx_uint_t kind, ngx_uint_t key, int stale)
{
    model_t  *m;

    m = &now_is[kind][key];

    if (m->valid && (m->deadline == 0 || m->deadline > now)) {
        return m;
    }

    m = &kept[kind][key];

    if (stale && keeps[source_of(key)] && m->valid
        && (m->deadline == 0 || m->deadline > now))
    {
        return m;
    }

    return NULL;
}


static void
find(ngx_uint_t kind, ngx_uint_t key, ngx_uint_t n, ngx_uint_t flags)
{
    model_t                         *m, *other;
    ngx_uint_t                       i, source;
    ngx_http_billing_store_query_t   query[70];

    for (i = 0; i < n; i++) {
        query[i].source = source_of((key + i / KINDS) % KEYS);
        query[i].kind = (kind + i) % KINDS;
        query[i].key = names[(key + i / KINDS) % KEYS];
    }

    ngx_http_billing_store_find(store, query, n, now, flags);

    for (i = 0; i < n; i++) {
        m = expected((kind + i) % KINDS, (key + i / KINDS) % KEYS,
                     (flags & NGX_HTTP_BILLING_STORE_STALE) != 0);

        if (large) {
            check((query[i].entry != NULL) == (m != NULL));
        }

        if (query[i].entry == NULL) {
            continue;
        }

        check(m);

        /* what was evicted may leave an older generation's to be found */

        other = &kept[(kind + i) % KINDS][(key + i / KINDS) % KEYS];
        source = query[i].source;

        if (!large && query[i].entry->generation
                      != store->sources[source].current)
        {
            check(flags & NGX_HTTP_BILLING_STORE_STALE);
            check(keeps[source] && other->valid);
            m = other;
        }

        check_record(query[i].entry, m->len, m->fill);
    }
}


static held_t *
free_place(void)
{
    ngx_uint_t  i;

    for (i = 0; i < HELD; i++) {
        if (held[i].entry == NULL) {
            return &held[i];
        }
    }

    return NULL;
}


static void
kill_places(ngx_int_t kind, ngx_int_t key)
{
    ngx_uint_t  i;

    for (i = 0; i < HELD; i++) {
        if ((kind == -1 || held[i].kind == (ngx_uint_t) kind)
            && held[i].key == (ngx_uint_t) key)
        {
            held[i].alive = 0;
        }
    }
}


static void
ref(ngx_uint_t kind, ngx_uint_t key)
{
    held_t                          *h;
    ngx_http_billing_store_query_t   query;

    h = free_place();

    if (h == NULL) {
        return;
    }

    query.source = source_of(key);
    query.kind = kind;
    query.key = names[key];

    ngx_http_billing_store_find(store, &query, 1, now, 0);

    if (query.entry == NULL) {
        return;
    }

    ngx_http_billing_store_ref(query.entry);

    h->entry = query.entry;
    h->kind = kind;
    h->key = key;
    h->place = 0;
    h->len = now_is[kind][key].len;
    h->fill = now_is[kind][key].fill;
}


static void
hold(ngx_uint_t kind, ngx_uint_t key)
{
    held_t  *h;

    h = free_place();

    if (h == NULL) {
        return;
    }

    h->entry = ngx_http_billing_store_hold(store, source_of(key), kind,
                                           &names[key]);
    check(h->entry || !large);

    h->kind = kind;
    h->key = key;
    h->place = 1;
    h->alive = 1;
}


static void
commit(held_t *h, u_char fill, size_t len, int64_t deadline)
{
    size_t      i;
    model_t    *m;
    ngx_int_t   rc;
    ngx_str_t   data;

    for (i = 0; i < len; i++) {
        buf[i] = (u_char) (fill + i);
    }

    data.data = buf;
    data.len = len;

    rc = ngx_http_billing_store_commit(store, h->entry, &data, deadline);

    check(rc == NGX_OK || rc == NGX_DECLINED);
    check(rc == NGX_DECLINED || h->alive);
    check(rc == NGX_OK || !large || !h->alive);

    h->entry = NULL;

    if (rc == NGX_OK) {
        m = &now_is[h->kind][h->key];
        m->valid = 1;
        m->len = len;
        m->fill = fill;
        m->deadline = deadline;

        kill_places(h->kind, h->key);
    }
}


static void
release(held_t *h)
{
    if (!h->place) {
        check_record(h->entry, h->len, h->fill);
    }

    ngx_http_billing_store_release(store, h->entry);
    h->entry = NULL;
}


static void
drop(ngx_uint_t key)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < KINDS; i++) {
        n += now_is[i][key].valid
             + (keeps[source_of(key)] && kept[i][key].valid);
        now_is[i][key].valid = 0;
        kept[i][key].valid = 0;
    }

    i = ngx_http_billing_store_drop(store, &names[key]);
    check(large ? i == n : i <= n);

    kill_places(-1, key);
}


static void
renew(ngx_uint_t source, int keep)
{
    ngx_uint_t  i, key;

    for (key = source; key < KEYS; key += 2) {

        for (i = 0; i < KINDS; i++) {
            if (keep && !keeps[source]) {
                kept[i][key] = now_is[i][key];
            }

            now_is[i][key].valid = 0;
        }

        kill_places(-1, key);
    }

    keeps[source] = keep;

    ngx_http_billing_store_renew(store, source, keep);
}


static void
step(const uint8_t *p)
{
    held_t      *h;
    ngx_uint_t   kind, key;

    key = p[1] % KEYS;
    kind = p[1] / KEYS % KINDS;

    h = &held[p[1] % HELD];

    switch (p[0] % 16) {

    case 0:
    case 1:
        hold(kind, key);
        break;

    case 2:
    case 3:
    case 4:
        if (h->entry && h->place) {
            commit(h, p[2], p[2] * 3, (p[0] & 16) ? now + p[2] % 8 : 0);
        }

        break;

    case 5:
        if (h->entry) {
            release(h);
        }

        break;

    case 6:
        drop(key);
        break;

    case 7:
        renew(source_of(key), p[2] & 1);
        break;

    case 8:
        ngx_http_billing_store_forget(store, source_of(key));
        keeps[source_of(key)] = 0;
        break;

    case 9:
        (void) ngx_http_billing_store_tidy(store, p[2] % 4);
        break;

    case 10:
        ref(kind, key);
        break;

    case 11:
        now += p[2];
        break;

    case 12:
    case 13:
        find(kind, key, p[2] % 70, p[0] / 16 % 4);
        break;

    default:
        hold(kind, key);

        if (h->entry && h->place) {
            commit(h, p[2], p[2], 0);
        }
    }

    check_store();
}


static void
run(size_t bytes)
{
    ngx_uint_t  i;

    size = bytes;
    large = (bytes == LARGE);
    now = 1;
    keeps[0] = 0;
    keeps[1] = 0;

    ngx_memzero(now_is, sizeof(now_is));
    ngx_memzero(kept, sizeof(kept));
    ngx_memzero(held, sizeof(held));

    for (i = 0; i < KEYS; i++) {
        names[i].data = keys[i];
        names[i].len = i * 7;
        ngx_memset(keys[i], 'a' + i, i * 7);
    }

    store = ngx_http_billing_store_create(size, seed, ngx_cycle->log);
    check(store);
}


static void
end(void)
{
    ngx_uint_t  i;

    for (i = 0; i < HELD; i++) {
        if (held[i].entry) {
            release(&held[i]);
        }
    }

    renew(0, 0);
    renew(1, 0);

    while (ngx_http_billing_store_tidy(store, 3)) { /* void */ }

    check_store();
    check(store->stat.entries == 0 && store->stat.dropped_bytes == 0);

    ngx_http_billing_store_destroy(store);
}


/* a camera as the module would keep it: found, if the text is empty; else put */

static ngx_uint_t
camera(ngx_uint_t id, ngx_str_t *text, ngx_uint_t flags)
{
    u_char                           name[64];
    ngx_http_billing_entry_t        *entry;
    ngx_http_billing_store_query_t   query;

    query.source = 0;
    query.kind = 1;
    query.key.data = name;
    query.key.len = ngx_sprintf(name, "billing:camera:%ui", id) - name;

    if (text) {
        entry = ngx_http_billing_store_hold(store, 0, 1, &query.key);
        return entry && ngx_http_billing_store_commit(store, entry, text, 0)
                        == NGX_OK;
    }

    ngx_http_billing_store_find(store, &query, 1, now, flags);

    return query.entry != NULL;
}


static void
check_memory(void)
{
    ngx_str_t   text = { JSON, buf };
    ngx_uint_t  i;

    run(128 << 20);

    for (i = 0; i < CAMERAS; i++) {
        check(camera(i, &text, 0));
    }

    check(store->stat.entries == CAMERAS && store->stat.evictions == 0);
    check(store->stat.bytes * 100 <= (size_t) CAMERAS * JSON * 135);

    end();
}


/* what is in use stays while a list that is much longer goes through */

static void
check_eviction(void)
{
    ngx_str_t   text = { JSON, buf };
    ngx_uint_t  i, k;

    run(1 << 19);

    for (i = 0; i < 4000; i++) {
        check(camera(i, &text, 0));

        for (k = 0; k < 50 && k <= i; k++) {
            check(camera(k, NULL, 0));
        }

        (void) camera(i / 2, NULL, NGX_HTTP_BILLING_STORE_ONCE);
    }

    check(store->stat.evictions > 3000);
    check(!camera(2000, NULL, 0));

    end();
}


/* as Python 3.11 has them for bytes objects, with PYTHONHASHSEED=0 */

static void
check_hash(void)
{
    ngx_str_t  a = ngx_string("a");
    ngx_str_t  b = ngx_string("abcdefgh");
    ngx_str_t  c = ngx_string("billing:camera:12345");
    uint64_t   key[2] = { 0, 0 };

    check(ngx_http_billing_siphash(key, &a) == 0x407448d2b89b1813);
    check(ngx_http_billing_siphash(key, &b) == 0x3f7b849c0b8e35ea);
    check(ngx_http_billing_siphash(key, &c) == 0xea09715a62d8e916);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static ngx_log_t    log;
    static ngx_cycle_t  cycle;

    cycle.log = &log;
    ngx_cycle = &cycle;

    check_hash();
    check_memory();
    check_eviction();

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 4 || data[0] > '1' || data[0] < '0') {
        return -1;
    }

    run(data[0] == '0' ? LARGE : SMALL);

    for (data++, len--; len >= 3; data += 3, len -= 3) {
        step(data);
    }

    end();

    return 0;
}
