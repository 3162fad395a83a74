
/*
 * The worker's cache is true because Redis tells the worker of each change, and
 * because the cache answers only while the connection that is told is known to
 * be well.  Each set of servers has a cache.  A source is a node of a cluster;
 * servers that are no cluster are one source.  The rules for each source, and
 * why they suffice:
 *
 *     All that is kept was read over one connection, the owner.  Replies and
 *     news of changes are one stream, so the news of a change follows every
 *     reply that is older than the change.
 *
 *     The cache is fresh for "lag" after the time at which the newest commands
 *     were sent that the owner has answered well: the news of all earlier
 *     changes comes before the answers.  When a server hangs, or a network
 *     swallows everything, nothing is answered, and the cache is not fresh any
 *     more.
 *
 *     When the owner is lost, its records end, except for stale answers.
 *
 *     While the cache is used, a probe reads synced_at every half lag.  If
 *     synced_at changes without news of the change, the news cannot be trusted.
 *
 *     In a cluster, a probe reads a key in a slot that the node is believed to
 *     have.  The map of slots is compared with the cluster's every half lag,
 *     too, and the cache is fresh only for "lag" after the last comparison.  A
 *     node whose slots have changed begins anew.  The node that has "epoch" has
 *     to be fresh as well; when it gets another owner, all nodes begin anew.
 */


#ifndef _NGX_HTTP_BILLING_COHERENCE_H_INCLUDED_
#define _NGX_HTTP_BILLING_COHERENCE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_redis.h"
#include "ngx_http_billing_store.h"


typedef struct ngx_http_billing_coherence_s  ngx_http_billing_coherence_t;

typedef void (*ngx_http_billing_coherence_probe_pt)(void *data,
    ngx_uint_t source);


/* counters of one process and its gauges; other processes may read them */

typedef struct {
    ngx_atomic_t                   hits;
    ngx_atomic_t                   misses;
    ngx_atomic_t                   stale;
    ngx_atomic_t                   invalidations;
    ngx_atomic_t                   evictions;
    ngx_atomic_t                   generations;
    ngx_atomic_t                   probes;
} ngx_http_billing_cache_stat_t;


typedef struct {
    /* bytes in use, and records */
    ngx_atomic_t                   bytes;
    ngx_atomic_t                   records;

    /* owners; sets of servers that are in use and whose cache is not used */
    ngx_atomic_t                   tracked;
    ngx_atomic_t                   untracked;
} ngx_http_billing_cache_gauge_t;


/* the data of one prefix */

typedef struct {
    ngx_str_t                      prefix;

    /* keys: a change of "epoch" ends the generation */
    ngx_str_t                      synced_at;
    ngx_str_t                      epoch;

    /* synced_at as the last probe has found it */
    time_t                         value;

    /* a probe has found synced_at */
    unsigned                       known:1;

    /* Redis has announced a change of synced_at since the last probe */
    unsigned                       announced:1;

    /* a probe was under way then: the change counts for the next one as well */
    unsigned                       announced_in_probe:1;

    /* the last probe has found a change that was not announced */
    unsigned                       unannounced:1;
} ngx_http_billing_coherence_prefix_t;


/* a source, as far as the worker knows */

typedef struct {
    /* the number of the owner, or 0 */
    ngx_uint_t                     owner;

    /* times of ngx_http_billing_coherence_clock(), or 0 */

    /* when the newest commands were sent that the owner has answered well */
    int64_t                        fresh;

    /* the value of "fresh" when the last owner was lost */
    int64_t                        last;

    /* when the last probe was sent */
    int64_t                        probed;

    /* how often synced_at has changed without news, on this connection */
    ngx_uint_t                     doubts;

    /* the server of the owner is a replica: it tells of an expiry late */
    unsigned                       replica:1;

    /* a probe is under way */
    unsigned                       probing:1;
} ngx_http_billing_source_state_t;


struct ngx_http_billing_coherence_s {
    /* bytes, 0 if there is no cache; milliseconds */
    size_t                              size;
    ngx_msec_t                          lag;
    ngx_msec_t                          stale;

    /* ngx_http_billing_coherence_prefix_t */
    ngx_array_t                         prefixes;

    ngx_http_billing_redis_t           *redis;
    ngx_http_billing_redis_tracking_t   tracking;
    ngx_log_t                          *log;

    /* NULL until the first owner */
    ngx_http_billing_store_t           *store;

    /* by number; NULL: a source that was never in use */
    ngx_http_billing_source_state_t   **sources;

    /*
     * in a cluster, by the same clock: when the last comparison of the map
     * began that was answered, and when the last comparison began
     */
    int64_t                             mapped;
    int64_t                             mapping;

    /* sends a probe; set by ngx_http_billing_probe_init() */
    ngx_http_billing_coherence_probe_pt  probe;
    void                               *data;

    ngx_http_billing_cache_stat_t      *stat;
    ngx_http_billing_cache_gauge_t     *gauge;

    /* the store's numbers, as they were when they were counted last */
    size_t                              bytes;
    ngx_uint_t                          records;
    uint64_t                            evictions;

    /* the source that the last line about a refused PTTL is for */
    ngx_uint_t                          refuser;

    /* no server has answered since the last failure */
    unsigned                            down:1;

    /* the store keeps a generation that has ended, for stale answers */
    unsigned                            kept:1;

    /* there is no owner, or one that is not trusted, though one was needed */
    unsigned                            untracked:1;

    /* a cluster refuses to tell the slots of its nodes, which were needed */
    unsigned                            unmapped:1;

    /* logged: the source "refuser" refuses PTTL */
    unsigned                            refused:1;
};


/*
 * Adds a prefix, whose keys may be kept.  At configuration.  The keys of the
 * prefix are allocated from cf->pool.
 */
ngx_int_t ngx_http_billing_coherence_add(ngx_conf_t *cf,
    ngx_http_billing_coherence_t *co, ngx_http_billing_redis_t *redis,
    ngx_str_t *prefix);

/* Milliseconds of a clock that never goes back and does not stand still. */
int64_t ngx_http_billing_coherence_clock(void);

/*
 * Whether records of the source may be used now.  To be called for each use: if
 * a probe is due, the probe is sent.
 */
ngx_uint_t ngx_http_billing_coherence_is_fresh(
    ngx_http_billing_coherence_t *co, ngx_uint_t source, int64_t now);

/*
 * Whether stale records of the source may be used now, as no server answers.
 * If a probe is due, the probe is sent.
 */
ngx_uint_t ngx_http_billing_coherence_is_stale(
    ngx_http_billing_coherence_t *co, ngx_uint_t source, int64_t now);

/* Whether data that is read from the source over the connection may be kept. */
ngx_uint_t ngx_http_billing_coherence_keeps(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, ngx_uint_t connection);

/* A server has answered: nothing stale is used any more. */
void ngx_http_billing_coherence_up(ngx_http_billing_coherence_t *co);

/*
 * All commands of a pipeline were answered well.  One of them was sent over the
 * source's owner at this time.
 */
void ngx_http_billing_coherence_answered(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, int64_t sent);

/* The number of the source's owner, or 0. */
ngx_uint_t ngx_http_billing_coherence_owner(ngx_http_billing_coherence_t *co,
    ngx_uint_t source);

/* The source has refused PTTL with this text: valid tokens are not kept. */
void ngx_http_billing_coherence_refused(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, ngx_str_t *text);

/* The source has answered PTTL. */
void ngx_http_billing_coherence_accepted(ngx_http_billing_coherence_t *co,
    ngx_uint_t source);

/* No server has answered in time. */
void ngx_http_billing_coherence_failed(ngx_http_billing_coherence_t *co);

/*
 * A probe over the owner has read the prefix's synced_at, which the source has,
 * or has found none (found is 0).
 */
void ngx_http_billing_coherence_synced(ngx_http_billing_coherence_t *co,
    ngx_http_billing_coherence_prefix_t *prefix, ngx_uint_t source,
    ngx_uint_t found, time_t value);

/* Brings the gauges, and what the store counts, up to date. */
void ngx_http_billing_coherence_count(ngx_http_billing_coherence_t *co);

/* Frees the store of a worker that exits. */
void ngx_http_billing_coherence_close(ngx_http_billing_coherence_t *co);


#endif /* _NGX_HTTP_BILLING_COHERENCE_H_INCLUDED_ */
