/*
 * The route table: the one place that says which paths and query keys exist. openapi.json is held
 * against it by a test.
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include <stddef.h>

#include "api/api.h"

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

/* 0 and the route; ERR_NOT_FOUND no such path; ERR_UNSUPPORTED path known, method not (`ret_allow`
 * then holds the Allow value). `ret_name`: raw, still percent-encoded {name}, "" if none. */
int route_find(const char *method, const char *path, const struct route **ret, char *ret_name,
               size_t name_size, char *ret_allow, size_t allow_size);

#endif
