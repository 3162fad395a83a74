
/*
 * A cluster, as one worker sees it: the nodes, and which of them have a slot.
 * The map of the slots is read by CLUSTER SLOTS when a node's answer, or the
 * loss of a node, shows that the map is old.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_CLUSTER_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_CLUSTER_H_INCLUDED_


#include "ngx_http_billing_redis_keyslot.h"
#include "ngx_http_billing_redis_node.h"


/* nodes that are known at once, and masters in a map, at most */

#define NGX_HTTP_BILLING_REDIS_MEMBERS   NGX_HTTP_BILLING_REDIS_SOURCES

/* milliseconds between two readings of the map, at least and at most */

#define NGX_HTTP_BILLING_REDIS_MIN_REFRESH  100
#define NGX_HTTP_BILLING_REDIS_MAX_REFRESH  1000

/* replicas of a master that are used, at most */

#define NGX_HTTP_BILLING_REDIS_REPLICAS  4


typedef struct ngx_http_billing_redis_cluster_s
                                            ngx_http_billing_redis_cluster_t;


/* a node of the cluster */

typedef struct {
    ngx_http_billing_redis_node_t       node;
    ngx_pool_t                         *pool;
    ngx_http_billing_redis_cluster_t   *cluster;

    /* by the host and the port, as the cluster announces them */
    ngx_str_node_t                      name;

    /* in cluster->members */
    ngx_queue_t                         queue;

    /* commands and parts of pipelines that refer to the node */
    ngx_uint_t                          refs;

    /* a PING that finds out whether a node that has failed is back */
    ngx_http_billing_redis_pipeline_t   probe;

    /* slots of which the node is the master, in the map in use */
    ngx_uint_t                          slots;

    /* the last tag found for the node: the next search begins with it */
    ngx_uint_t                          tag;

    /* the shard of which the node is the master, while a map is read */
    ngx_uint_t                          shard;

    /* the node is in the map in use */
    unsigned                            listed:1;

    /* another node has the name now */
    unsigned                            unnamed:1;

    /* the node has other slots than before */
    unsigned                            changed:1;
} ngx_http_billing_redis_member_t;


typedef struct {
    ngx_http_billing_redis_member_t    *master;
    ngx_http_billing_redis_member_t    *replicas[
                                              NGX_HTTP_BILLING_REDIS_REPLICAS];
    ngx_uint_t                          nreplicas;
} ngx_http_billing_redis_shard_t;


typedef struct {
    /* the number of the shard, from 1; or 0 if no node has the slot */
    uint16_t                            slots[NGX_HTTP_BILLING_REDIS_SLOTS];
    ngx_uint_t                          covered;

    ngx_http_billing_redis_shard_t      shards[NGX_HTTP_BILLING_REDIS_MEMBERS];
    ngx_uint_t                          nshards;
} ngx_http_billing_redis_map_t;


/* the state of reading a reply to CLUSTER SLOTS */

typedef struct {
    ngx_http_billing_redis_map_t       *map;

    /* the range being read, and the number of its values and nodes so far */
    ngx_uint_t                          first;
    ngx_uint_t                          last;
    ngx_uint_t                          nvalues;
    ngx_uint_t                          nnodes;
    ngx_uint_t                          shard;

    /* the node being read, and the number of its fields so far */
    ngx_uint_t                          nfields;
    u_char                              host[
                                          NGX_HTTP_BILLING_REDIS_MAX_ITEM + 1];
    size_t                              host_len;
    u_char                              ip[NGX_INET6_ADDRSTRLEN];
    size_t                              ip_len;
    in_port_t                           port;

    /* flags: a node is being read; the next value is the node's "ip" */
    ngx_uint_t                          in_node;
    ngx_uint_t                          ip_next;

    /* the range's replicas are known already, or there is no place for them */
    ngx_uint_t                          skips_replicas;

    /* the reply is not understood */
    ngx_uint_t                          wrong;

    /* nodes were left out, as there were too many */
    ngx_uint_t                          bounded;

    /* a node was left out, as it was announced without an address */
    ngx_uint_t                          addressless;
} ngx_http_billing_redis_reading_t;


struct ngx_http_billing_redis_cluster_s {
    /* the servers as configured */
    ngx_http_billing_redis_node_t      *seeds;

    /*
     * set by the caller: called for a part of a pipeline that waits, and may be
     * sent to another node
     */
    void                              (*reroute)(
                                         ngx_http_billing_redis_pipeline_t *pl);
    ngx_log_t                          *log;

    /* never NULL */
    ngx_http_billing_redis_map_t       *map;

    /* the number of the map in use, from the sequence of the connections' */
    ngx_uint_t                          version;

    ngx_queue_t                         members;
    ngx_uint_t                          nmembers;

    /* by their numbers as sources, from 1 */
    ngx_http_billing_redis_member_t    *sources[
                                          NGX_HTTP_BILLING_REDIS_SOURCES + 1];
    ngx_rbtree_t                        names;
    ngx_rbtree_node_t                   sentinel;

    /* the reading of a new map, and the node that is asked; NULL: a seed */
    ngx_http_billing_redis_pipeline_t   pipeline;
    ngx_http_billing_redis_reading_t    reading;
    ngx_http_billing_redis_member_t    *asked;

    /* the timer of the next reading */
    ngx_event_t                         refresh;

    /* when the last reading began, and the least time to the next one */
    ngx_msec_t                          refreshed;
    ngx_msec_t                          delay;

    /* a node that knows a newer map, or NULL */
    ngx_http_billing_redis_member_t    *hint;

    /* counts readings, so that the nodes are asked in turn */
    ngx_uint_t                          turn;

    /* posted: pipelines that wait may go to other nodes; nodes may be freed */
    ngx_event_t                         changed;

    /* a node could not tell the map: a seed is asked next */
    unsigned                            failed:1;

    /* the servers are no cluster any more; they may become one again */
    unsigned                            ended:1;

    /* the node that was asked last for the map refused to tell it */
    unsigned                            refused:1;

    /* logged: the first map, nodes that were left out */
    unsigned                            map_logged:1;
    unsigned                            bounded:1;
    unsigned                            addressless:1;
};


/* Returns NULL if there is no memory. */
ngx_http_billing_redis_cluster_t *ngx_http_billing_redis_cluster_create(
    ngx_http_billing_redis_node_t *seeds);

void ngx_http_billing_redis_cluster_destroy(
    ngx_http_billing_redis_cluster_t *cluster);

/*
 * The map is old, and is read soon.  The hint is a node that knows a better
 * map, or NULL.
 */
void ngx_http_billing_redis_cluster_refresh(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_member_t *hint);

/* Reads the map now, unless it is being read. */
void ngx_http_billing_redis_cluster_compare(
    ngx_http_billing_redis_cluster_t *cluster);

/* As ngx_http_billing_redis_source() and ngx_http_billing_redis_tag(). */

ngx_uint_t ngx_http_billing_redis_cluster_source(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t slot);
ngx_int_t ngx_http_billing_redis_cluster_tag(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t source,
    ngx_uint_t *tag);

/* A node has the slot: another one says so, or the node has answered. */
void ngx_http_billing_redis_cluster_moved(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t slot,
    ngx_http_billing_redis_member_t *member);

/*
 * The node to ask for a slot; NULL: one of the seeds.  Sets readonly to 1 if
 * the master cannot be used, and the node is a replica as far as is known.
 */
ngx_http_billing_redis_member_t *ngx_http_billing_redis_cluster_route(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t slot,
    ngx_uint_t *readonly);

/* May the node be asked?  It may if no connection to it has failed. */
ngx_uint_t ngx_http_billing_redis_member_usable(
    ngx_http_billing_redis_member_t *member);

/*
 * The node with the host and port that a server has announced: one that is
 * known, or a new one.  ip is the address if the host is a name, or empty.
 * Returns NULL if the node is not known, and there is no address, no memory, or
 * no room.
 */
ngx_http_billing_redis_member_t *ngx_http_billing_redis_member(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_server_t *server, ngx_str_t *host, ngx_str_t *ip,
    in_port_t port);

/* Sends a PING to a node that has failed, unless one is under way. */
void ngx_http_billing_redis_member_probe(
    ngx_http_billing_redis_member_t *member);

/* The node has other slots: replies of the node must not be kept any longer. */
void ngx_http_billing_redis_member_renew(
    ngx_http_billing_redis_member_t *member);

/* May the node be freed, once the node is in no map? */
ngx_uint_t ngx_http_billing_redis_member_idle(
    ngx_http_billing_redis_member_t *member);
void ngx_http_billing_redis_member_destroy(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_member_t *member);

/* Adds and drops references. */

void ngx_http_billing_redis_member_hold(
    ngx_http_billing_redis_member_t *member);
void ngx_http_billing_redis_member_release(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_member_t *member);

/*
 * Sets state to what this worker knows of the n-th node.  Returns NGX_DECLINED
 * if there are not so many nodes now.
 */
ngx_int_t ngx_http_billing_redis_cluster_state(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t n,
    ngx_http_billing_redis_state_t *state);

/* The rest is for the cluster's own files. */

/* The timer's handler: asks for the map. */
void ngx_http_billing_redis_cluster_refresh_handler(ngx_event_t *ev);

/* The node to ask for the map, or for any slot; NULL: one of the seeds. */
ngx_http_billing_redis_member_t *ngx_http_billing_redis_cluster_next(
    ngx_http_billing_redis_cluster_t *cluster);

/* The node that is the master of the slot in this map, or NULL. */
ngx_http_billing_redis_member_t *ngx_http_billing_redis_cluster_master(
    ngx_http_billing_redis_map_t *map, ngx_uint_t slot);

/* Takes an item of the reply to CLUSTER SLOTS, and the reply's end. */

void ngx_http_billing_redis_topology_item(void *data,
    ngx_http_billing_redis_reply_t *reply);
void ngx_http_billing_redis_topology_end(
    ngx_http_billing_redis_cluster_t *cluster);


#endif /* _NGX_HTTP_BILLING_REDIS_CLUSTER_H_INCLUDED_ */
