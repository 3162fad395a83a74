
#include "ngx_http_billing_status_page.h"


const ngx_http_billing_metric_t  ngx_http_billing_page_counters[] = {

    { "cameras_sent", "Cameras sent to clients.",
      offsetof(ngx_http_billing_slot_t, counters.cameras) },

    { "lists_broken", "Lists broken off after their first byte was sent.",
      offsetof(ngx_http_billing_slot_t, counters.broken) },

    { "redis_commands", "Commands sent to Redis.",
      offsetof(ngx_http_billing_slot_t, counters.redis.commands) },

    { "redis_errors", "Answers of Redis that are errors or break the contract "
      "of the cache.",
      offsetof(ngx_http_billing_slot_t, counters.redis.errors) },

    { "redis_timeouts", "Pipelines that Redis did not answer in time.",
      offsetof(ngx_http_billing_slot_t, counters.redis.timeouts) },

    { "redis_retries", "Pipelines sent once more after a connection was lost.",
      offsetof(ngx_http_billing_slot_t, counters.redis.retries) },

    { "redis_connects", "Connections to Redis established.",
      offsetof(ngx_http_billing_slot_t, counters.redis.connects) },

    { "redis_connect_failures", "Connections to Redis that could not be "
      "established.",
      offsetof(ngx_http_billing_slot_t, counters.redis.connect_failures) },

    { "redis_lost", "Connections to Redis lost with commands in flight.",
      offsetof(ngx_http_billing_slot_t, counters.redis.lost) },

    { "redis_redirects", "Answers of a Redis Cluster that named another node.",
      offsetof(ngx_http_billing_slot_t, counters.redis.redirects) },

    { "redis_refreshes", "How often the map of a Redis Cluster's slots was "
      "read.",
      offsetof(ngx_http_billing_slot_t, counters.redis.refreshes) },

    { "cache_hits", "Records found in the caches of the workers.",
      offsetof(ngx_http_billing_slot_t, counters.cache.hits) },

    { "cache_misses", "Records not found in the caches of the workers.",
      offsetof(ngx_http_billing_slot_t, counters.cache.misses) },

    { "cache_stale", "Stale records used while no server answered.",
      offsetof(ngx_http_billing_slot_t, counters.cache.stale) },

    { "cache_invalidations", "Records dropped because their key had changed.",
      offsetof(ngx_http_billing_slot_t, counters.cache.invalidations) },

    { "cache_evictions", "Records dropped for want of room.",
      offsetof(ngx_http_billing_slot_t, counters.cache.evictions) },

    { "cache_generations", "How often all records of a cache were dropped.",
      offsetof(ngx_http_billing_slot_t, counters.cache.generations) },

    { "cache_probes", "Probes sent to Redis to keep caches fresh.",
      offsetof(ngx_http_billing_slot_t, counters.cache.probes) },

    { NULL, NULL, 0 }
};


const ngx_http_billing_metric_t  ngx_http_billing_page_gauges[] = {

    { "requests_waiting", "Requests that wait for Redis.",
      offsetof(ngx_http_billing_slot_t, waiting) },

    { "cache_bytes", "Memory of the caches of the workers.",
      offsetof(ngx_http_billing_slot_t, cache.bytes) },

    { "cache_records", "Records in the caches of the workers.",
      offsetof(ngx_http_billing_slot_t, cache.records) },

    { "cache_tracked", "Connections by which Redis keeps a cache true.",
      offsetof(ngx_http_billing_slot_t, cache.tracked) },

    { "cache_untracked", "Workers whose cache is not used, as Redis does not "
      "tell of changes, or a cluster not of its slots.",
      offsetof(ngx_http_billing_slot_t, cache.untracked) },

    { NULL, NULL, 0 }
};


const ngx_http_billing_metric_t  ngx_http_billing_page_histograms[] = {

    { "request_duration", "Time from the start of a request to its end.",
      offsetof(ngx_http_billing_slot_t, counters.duration) },

    { "redis_duration", "Time from sending a pipeline to Redis to its answer.",
      offsetof(ngx_http_billing_slot_t, counters.redis_duration) },

    { NULL, NULL, 0 }
};
