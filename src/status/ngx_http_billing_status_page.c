
#include "ngx_http_billing_status_page.h"


const ngx_http_billing_metric_t  ngx_http_billing_page_counters[] = {

    { "cameras_sent", "Cameras sent to clients.",
      offsetof(ngx_http_billing_counters_t, cameras) },

    { "lists_broken", "Lists broken off after their first byte was sent.",
      offsetof(ngx_http_billing_counters_t, broken) },

    { "redis_commands", "Commands sent to Redis.",
      offsetof(ngx_http_billing_counters_t, redis.commands) },

    { "redis_errors", "Answers of Redis that are errors or break the contract "
      "of the cache.",
      offsetof(ngx_http_billing_counters_t, redis.errors) },

    { "redis_timeouts", "Pipelines that Redis did not answer in time.",
      offsetof(ngx_http_billing_counters_t, redis.timeouts) },

    { "redis_retries", "Pipelines sent once more after a connection was lost.",
      offsetof(ngx_http_billing_counters_t, redis.retries) },

    { "redis_connects", "Connections to Redis established.",
      offsetof(ngx_http_billing_counters_t, redis.connects) },

    { "redis_connect_failures", "Connections to Redis that could not be "
      "established.",
      offsetof(ngx_http_billing_counters_t, redis.connect_failures) },

    { "redis_lost", "Connections to Redis lost with commands in flight.",
      offsetof(ngx_http_billing_counters_t, redis.lost) },

    { NULL, NULL, 0 }
};


const ngx_http_billing_metric_t  ngx_http_billing_page_histograms[] = {

    { "request_duration", "Time from the start of a request to its end.",
      offsetof(ngx_http_billing_counters_t, duration) },

    { "redis_duration", "Time from sending a pipeline to Redis to its answer.",
      offsetof(ngx_http_billing_counters_t, redis_duration) },

    { NULL, NULL, 0 }
};
