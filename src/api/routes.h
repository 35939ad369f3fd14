/*
 * The route table: the one place that says which paths and query keys exist. openapi.json is held
 * against it by a test.
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include <stddef.h>

#include "api/api.h"
#include "http/http.h"

struct route {
    enum operation operation;
    const char *id;      /* operationId: "token" */
    const char *method;  /* "GET" */
    const char *pattern; /* "/v1/profiles/{name}/token" */
    const char *query;   /* words: the keys it knows; any other is a problem "usage" */
    bool takes_body;
    bool streams;
};

extern const struct route api_routes[OP_COUNT]; /* indexed by operation */

#define ROUTE_KEYS_MAX  8
#define ROUTE_KEY_SIZE  16
#define ROUTE_ALLOW_MAX 64

/* 0 and the route; ERR_NOT_FOUND no such path; ERR_UNSUPPORTED path known, method not (`ret_allow`,
 * ROUTE_ALLOW_MAX bytes, then holds the Allow value). `ret_name`: the {name}, still
 * percent-encoded, {NULL, 0} if the pattern has none. */
int route_find(struct http_text method, struct http_text path, const struct route **ret,
               struct http_text *ret_name, char *ret_allow);

/* The query keys of a route as a list. Returns how many. */
size_t route_keys(const struct route *r, char ret[ROUTE_KEYS_MAX][ROUTE_KEY_SIZE]);

#endif
