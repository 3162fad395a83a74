
/*
 * Commands to Redis and their replies.  A worker has a few connections to each
 * set of servers, which all requests share.  Commands have a deadline; until
 * then lost connections are made anew, and what was in flight is sent again.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_billing_redis_command.h"
#include "ngx_http_billing_redis_reply.h"


typedef struct ngx_http_billing_redis_s       ngx_http_billing_redis_t;
typedef struct ngx_http_billing_redis_node_s  ngx_http_billing_redis_node_t;

typedef struct ngx_http_billing_redis_split_s
                                              ngx_http_billing_redis_split_t;
typedef struct ngx_http_billing_redis_pending_s
                                              ngx_http_billing_redis_pending_t;


typedef struct {
    /* the URL as configured, with its credentials */
    ngx_str_t                          url;

    /* the name in log lines, without credentials */
    ngx_str_t                          name;

    /* a path if there is no port, else a numeric address; zero-terminated */
    ngx_str_t                          host;
    in_port_t                          port;

    ngx_str_t                          user;
    ngx_str_t                          password;
    ngx_str_t                          db;

    /* the host as in the URL, zero-terminated; empty without TLS */
    ngx_str_t                          ssl_name;

    /* the host is a name, and not yet resolved */
    unsigned                           resolve:1;

    /* the server is not used if it says that it is a master */
    unsigned                           replica:1;
} ngx_http_billing_redis_peer_t;


/* the parameters of an URL of sentinels */

typedef struct {
    /* the name of the master */
    ngx_str_t                          master;

    /* the sentinels' own */
    ngx_str_t                          user;
    ngx_str_t                          password;
} ngx_http_billing_redis_sentinel_conf_t;


/* the URLs of a directive */

typedef struct {
    /* ngx_http_billing_redis_peer_t, in the order of preference */
    ngx_array_t                        peers;

    /* the same with host names resolved at configuration; NULL: not needed */
    ngx_array_t                       *resolved;

    /* NULL if the servers above are no sentinels */
    ngx_http_billing_redis_sentinel_conf_t  *sentinel;

    /* where the directive is, for messages */
    ngx_str_t                          file;
    ngx_uint_t                         line;

    /* some hosts are names */
    unsigned                           resolve:1;
} ngx_http_billing_redis_urls_t;


typedef struct {
    ngx_flag_t                         verify;
    ngx_str_t                          trusted_certificate;
    ngx_str_t                          name;
    ngx_str_t                          certificate;
    ngx_str_t                          certificate_key;
} ngx_http_billing_redis_ssl_conf_t;


typedef struct {
    ngx_http_billing_redis_urls_t     *urls;

    /*
     * ngx_http_billing_redis_peer_t, in the order of preference; set by
     * ngx_http_billing_redis_add()
     */
    ngx_array_t                       *peers;

    /*
     * nginx's resolver, which resolves host names at run time; NULL if there
     * are none, or if they were resolved at configuration
     */
    ngx_resolver_t                    *resolver;
    ngx_msec_t                         resolver_timeout;

    /* the password of servers without one in their URL, and its file */
    ngx_str_t                          password_file;
    ngx_str_t                          password;

    ngx_msec_t                         connect_timeout;

    /* per worker */
    ngx_uint_t                         connections;

    /* pipelines that may wait for a connection, at most */
    ngx_uint_t                         queue;

    ngx_flag_t                         socket_keepalive;

    ngx_http_billing_redis_ssl_conf_t  ssl;
} ngx_http_billing_redis_conf_t;


/* counters of one process; other processes may read them */

typedef struct {
    ngx_atomic_t                       commands;
    ngx_atomic_t                       errors;
    ngx_atomic_t                       timeouts;
    ngx_atomic_t                       retries;
    ngx_atomic_t                       connects;
    ngx_atomic_t                       connect_failures;
    ngx_atomic_t                       lost;

    /* MOVED and ASK; and how often the map of a cluster was read */
    ngx_atomic_t                       redirects;
    ngx_atomic_t                       refreshes;
} ngx_http_billing_redis_stat_t;


/* a server, as one worker sees it */

typedef struct {
    ngx_http_billing_redis_peer_t     *peer;

    /* requests are sent to the server */
    unsigned                           used:1;

    /* connections have failed, and the server was not used since */
    unsigned                           failing:1;

    /* the server lacks a required key, and is passed over */
    unsigned                           unloaded:1;
} ngx_http_billing_redis_state_t;


/* Called for each answered pipeline: milliseconds since it was sent. */
typedef void (*ngx_http_billing_redis_duration_pt)(void *data,
    ngx_msec_t duration);


/* how a pipeline ended */

typedef enum {
    /* all commands were answered */
    NGX_HTTP_BILLING_REDIS_OK = 0,

    /*
     * no server could be connected to before the deadline, or too many
     * pipelines waited for a connection already
     */
    NGX_HTTP_BILLING_REDIS_UNAVAILABLE,

    /* Redis did not answer before the deadline */
    NGX_HTTP_BILLING_REDIS_TIMEOUT,

    /*
     * connections were lost, replies were invalid, or no server accepted the
     * credentials
     */
    NGX_HTTP_BILLING_REDIS_BROKEN
} ngx_http_billing_redis_result_e;


/*
 * Called for the reply to the n-th command of a pipeline, errors included.
 * The reply is valid during the call only.  Replies count only once the
 * pipeline is done with NGX_HTTP_BILLING_REDIS_OK: until then commands may be
 * sent again, all of them or some.  So there may be several replies for one n,
 * of which the last one counts.  Replies of a cluster come in any order.
 */
typedef void (*ngx_http_billing_redis_reply_pt)(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);

/*
 * Called exactly once for a pipeline that was not cancelled, never from
 * inside ngx_http_billing_redis_send().
 */
typedef void (*ngx_http_billing_redis_done_pt)(void *data,
    ngx_http_billing_redis_result_e result);

struct ngx_http_billing_redis_event_s;

/* Sends commands over a connection.  NGX_ERROR: there is no memory. */
typedef ngx_int_t (*ngx_http_billing_redis_write_pt)(void *data,
    struct ngx_http_billing_redis_event_s *event);

/* Called for each item of a reply that is handed out in items. */
typedef void (*ngx_http_billing_redis_item_pt)(void *data,
    ngx_http_billing_redis_reply_t *reply);


typedef enum {
    NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE = 0,

    /* the pipeline waits for a connection */
    NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING,
    NGX_HTTP_BILLING_REDIS_PIPELINE_OPTIONAL,

    /* the pipeline waits for its turn among bulk pipelines */
    NGX_HTTP_BILLING_REDIS_PIPELINE_BULK,

    NGX_HTTP_BILLING_REDIS_PIPELINE_SENT,

    /* other pipelines do the work: one for each node of a cluster */
    NGX_HTTP_BILLING_REDIS_PIPELINE_SPLIT,

    /* the pipeline has failed, and its handler is yet to be called */
    NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED
} ngx_http_billing_redis_pipeline_state_e;


/*
 * Called before n commands of a pipeline are sent, of which first is the index
 * of the first one.  Commands that are sent again may have another connection.
 * The function is not called for commands whose replies must not be kept.
 */
typedef void (*ngx_http_billing_redis_sending_pt)(void *data,
    ngx_uint_t connection, ngx_uint_t first, ngx_uint_t n);


typedef struct {
    ngx_http_billing_redis_reply_pt    reply;
    ngx_http_billing_redis_done_pt     done;

    /* NULL if the caller has no use for it */
    ngx_http_billing_redis_sending_pt  sending;

    /*
     * For the files of redis, or NULL.  write() sends the commands, in place of
     * those from start to last.  With item(), the only command is answered by
     * an array: item() takes its elements, then reply() takes an empty array.
     */
    ngx_http_billing_redis_write_pt    write;
    ngx_http_billing_redis_item_pt     item;
    void                              *data;

    /* the encoded commands */
    u_char                            *start;
    u_char                            *last;
    u_char                            *end;
    ngx_uint_t                         ncommands;
    ngx_pool_t                        *pool;

    /*
     * the state, and the place: in a queue of the node, among the replies that
     * a connection waits for, or split among nodes
     */
    ngx_http_billing_redis_pipeline_state_e  state;
    ngx_http_billing_redis_t          *redis;
    ngx_http_billing_redis_node_t     *node;
    ngx_http_billing_redis_pending_t  *pending;
    ngx_http_billing_redis_split_t    *split;
    ngx_queue_t                        queue;

    ngx_event_t                        timer;
    ngx_msec_t                         timer_due;
    ngx_msec_t                         timeout;
    ngx_msec_t                         deadline;
    ngx_http_billing_redis_result_e    result;

    /* the time at which the pipeline was sent */
    ngx_msec_t                         sent;

    /*
     * the name of the server that has answered, valid until done() returns, and
     * the number of its connection, which a worker never uses again; NULL and 0
     * before the answer
     */
    ngx_str_t                         *server;
    ngx_uint_t                         connection;

    /* how often the pipeline was sent, less the failures caused by others */
    ngx_uint_t                         tries;

    /* 1 while a pipeline that was sent waits to be sent again, else 0 */
    ngx_uint_t                         resend;

    /*
     * For the caller to set.  A bulk pipeline is large, and waits for its turn
     * so that small ones are not delayed.  An optional pipeline takes no place
     * in the queue, and fails at once if many wait, or are in flight.  A
     * pipeline that asks for the server's role, too, notices a changed role:
     * then untracked() and tracked() are called before done().
     */
    unsigned                           bulk:1;
    unsigned                           optional:1;
    unsigned                           asks_role:1;

    /* the pipeline is one of those that do the work of another one */
    unsigned                           part:1;

    /* a reply says that the server is a node of a cluster */
    unsigned                           redirected:1;
} ngx_http_billing_redis_pipeline_t;


/*
 * A cache of replies, which has to be told of changes.  One connection at a
 * time is the owner: Redis tells the owner of each change of a key that begins
 * with one of the prefixes.  See
 * https://redis.io/docs/latest/develop/reference/client-side-caching/
 * All pipelines go over the owner while it can be used.
 *
 * Each node of a cluster is a source, and has an owner of its own.  Sources
 * have numbers; servers that are no cluster are the source 0.
 */

/* sources have numbers up to this one */

#define NGX_HTTP_BILLING_REDIS_SOURCES  1024

/* no server is known to have the key */

#define NGX_HTTP_BILLING_REDIS_NOWHERE  ((ngx_uint_t) -1)

typedef struct {
    /* ngx_str_t: none begins with another one; an empty one covers all keys */
    ngx_array_t                        prefixes;

    /* bytes of the longest key to be told of; longer ones are passed over */
    size_t                             max_name;

    /*
     * From now on, the connection with this number is the source's owner.
     * replica is 1 if the owner's server is a replica, else 0.  Called before a
     * pipeline is sent over the owner.
     */
    void                             (*tracked)(void *data, ngx_uint_t source,
                                                ngx_uint_t connection,
                                                ngx_uint_t replica);

    /* a key has changed; NULL: all keys of the source have */
    void                             (*changed)(void *data, ngx_uint_t source,
                                                ngx_str_t *key);

    /*
     * The source has no owner any more: it was lost, or drains, or does not
     * answer, or its server has another role or other slots.  Called before
     * anything else happens to the owner's pipelines.
     */
    void                             (*untracked)(void *data,
                                                  ngx_uint_t source);

    /*
     * In a cluster: mapping() says that a node is being asked for the slots of
     * all nodes.  mapped() says that the answer has come, and that untracked()
     * was called for each node whose slots have changed.
     */
    void                             (*mapping)(void *data);
    void                             (*mapped)(void *data);

    void                              *data;
} ngx_http_billing_redis_tracking_t;


/*
 * Parses the URLs of a directive: n of them.  Returns NULL for a mistake, which
 * is logged without any credentials.
 */
ngx_http_billing_redis_urls_t *ngx_http_billing_redis_parse_urls(ngx_conf_t *cf,
    ngx_str_t *url, ngx_uint_t n);

/*
 * Sets conf->peers.  Without a resolver, host names are resolved now: a server
 * for each address.
 */
ngx_int_t ngx_http_billing_redis_resolve_urls(ngx_conf_t *cf,
    ngx_http_billing_redis_conf_t *conf);

/* Sets host to the host in the URL as written, which may be a name. */
void ngx_http_billing_redis_url_host(ngx_str_t *url, ngx_str_t *host);

/* Reads conf->password: the first line of conf->password_file. */
ngx_int_t ngx_http_billing_redis_read_password(ngx_conf_t *cf,
    ngx_http_billing_redis_conf_t *conf);

/*
 * Finds the set of servers with this configuration in sets, an array of
 * pointers, or adds one.  Returns NULL if the configuration is wrong, which is
 * logged, or if there is no memory.
 */
ngx_http_billing_redis_t *ngx_http_billing_redis_add(ngx_conf_t *cf,
    ngx_array_t *sets, ngx_http_billing_redis_conf_t *conf);

/*
 * Adds a required key, which every server of the set holds once its data is
 * loaded: a server without the key is not used while another one can be.  The
 * key is not copied; adding a key twice is no fault.  At configuration.
 */
ngx_int_t ngx_http_billing_redis_require(ngx_conf_t *cf,
    ngx_http_billing_redis_t *redis, ngx_str_t *key);

/* Connections made from now on are tracked.  The struct is not copied. */
void ngx_http_billing_redis_track(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_tracking_t *tracking);

/* Sets the counters of a process; to be called before the first command. */
void ngx_http_billing_redis_count(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_stat_t *stat,
    ngx_http_billing_redis_duration_pt duration, void *data);

/*
 * ngx_http_billing_redis_peer_t: the servers as configured, in the order of
 * preference.
 */
ngx_array_t *ngx_http_billing_redis_peers(ngx_http_billing_redis_t *redis);

/*
 * Sets state to what this worker knows of the n-th server.  Returns
 * NGX_DECLINED if there are not so many servers now.
 */
ngx_int_t ngx_http_billing_redis_state(ngx_http_billing_redis_t *redis,
    ngx_uint_t n, ngx_http_billing_redis_state_t *state);

/*
 * Sets how many slots of the cluster have a node, and how many nodes there are,
 * as this worker knows.  Returns NGX_DECLINED if the servers are no cluster.
 */
ngx_int_t ngx_http_billing_redis_cluster(ngx_http_billing_redis_t *redis,
    ngx_uint_t *slots, ngx_uint_t *nodes);

/* Makes an empty pipeline for about n commands, allocated from the pool. */
ngx_int_t ngx_http_billing_redis_pipeline_init(
    ngx_http_billing_redis_pipeline_t *pl, ngx_pool_t *pool, ngx_uint_t n);

/* Appends a command with its variable arguments. */
ngx_int_t ngx_http_billing_redis_add_command(
    ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_command_t *command, ngx_str_t *args);

/*
 * Sends the pipeline and waits for its replies until the deadline, a value of
 * ngx_current_msec.  A connection that owes replies is closed if none comes for
 * timeout milliseconds.
 */
void ngx_http_billing_redis_send(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_pipeline_t *pl, ngx_msec_t timeout,
    ngx_msec_t deadline);

/* Cancels the pipeline, if it is active: no handler is called any more. */
void ngx_http_billing_redis_cancel(ngx_http_billing_redis_pipeline_t *pl);

/*
 * The number of the connection over which the n-th command of an answered
 * pipeline was answered; 0: the reply must not be kept.
 */
ngx_uint_t ngx_http_billing_redis_answered(
    ngx_http_billing_redis_pipeline_t *pl, ngx_uint_t n);

/* The source that has the key now, or NGX_HTTP_BILLING_REDIS_NOWHERE. */
ngx_uint_t ngx_http_billing_redis_source(ngx_http_billing_redis_t *redis,
    ngx_str_t *key);

/*
 * Sets the tag to a number: each key that contains the number in braces is one
 * of the source's.  Returns NGX_DECLINED if there is no such number.
 */
ngx_int_t ngx_http_billing_redis_tag(ngx_http_billing_redis_t *redis,
    ngx_uint_t source, ngx_uint_t *tag);

/* Asks a node of the cluster for the slots of all nodes, now. */
void ngx_http_billing_redis_compare(ngx_http_billing_redis_t *redis);

/* Did the node that was asked last refuse to tell the slots? */
ngx_uint_t ngx_http_billing_redis_refused(ngx_http_billing_redis_t *redis);

/* A number that is new when slots of the cluster change; 0: no cluster. */
ngx_uint_t ngx_http_billing_redis_version(ngx_http_billing_redis_t *redis);

/* Counts a reply of the pipeline that its caller has found wrong. */
void ngx_http_billing_redis_wrong(ngx_http_billing_redis_pipeline_t *pl);

/*
 * The server that answered the pipeline lacks a required key: the server is
 * passed over.  Returns NGX_OK if another server may be asked, and the caller
 * sends its commands again; or NGX_DECLINED if there is none.
 */
ngx_int_t ngx_http_billing_redis_unloaded(
    ngx_http_billing_redis_pipeline_t *pl);

/* Closes the connections of a worker that exits. */
void ngx_http_billing_redis_close(ngx_http_billing_redis_t *redis);


#endif /* _NGX_HTTP_BILLING_REDIS_H_INCLUDED_ */
