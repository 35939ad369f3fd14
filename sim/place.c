#include "sim/capture.h"
void places_begin(struct world *w){(void)w;}
void places_load(struct world *w, struct host *h){(void)w;(void)h;}
void place_order(struct world *w, struct host *h, const struct effect *fx){(void)w;(void)h;(void)fx;}
void place_act(struct world *w, struct op *op){(void)w;(void)op;}
void place_seen(struct world *w, struct op *op){(void)w;(void)op;}
void place_watch(struct world *w, struct op *op){(void)w;(void)op;}
void siblings_begin(struct world *w){(void)w;}
void sibling_act(struct world *w, struct op *op){(void)w;(void)op;}
void sibling_reply(struct world *w, struct op *op){(void)w;(void)op;}
enum event_kind apply_adopt_capture(struct world *w, struct host *h, const struct effect *fx){(void)w;(void)h;(void)fx;return EV_STORE_FAILED;}
enum event_kind apply_quarantine(struct world *w, struct host *h, const struct effect *fx){(void)w;(void)h;(void)fx;return EV_STORE_FAILED;}
enum event_kind apply_claim(struct world *w, struct host *h, const struct effect *fx){(void)w;(void)h;(void)fx;return EV_STORE_FAILED;}
enum event_kind apply_drop(struct world *w, struct host *h, const struct effect *fx){(void)w;(void)h;(void)fx;return EV_COUNT;}
void say_claimed(const struct world *w, const struct effect *fx, struct event *ret){(void)w;(void)fx;(void)ret;}
bool seal_capture(struct world *w, struct op *op){(void)w;(void)op;return false;}
struct capture *sealed_find(struct world *w, uint64_t id){(void)w;(void)id;return NULL;}
