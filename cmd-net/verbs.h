/* cmd-net/verbs.h: what the command line can ask for. */
#pragma once

struct hoy_buf;
struct hoy_err;
struct request;

/* Wire the namespace at NS; the status JSON goes to OUT. After a failure nothing of it is left. */
int net_setup(struct request *r, const char *ns, struct hoy_buf *out, struct hoy_err *err);
/* Undo that, whatever of it is still there; NS may be gone. */
int net_teardown(struct request *r, const char *ns, struct hoy_err *err);
/* Remove what a network leaves for its next container: bridge, rules, files. */
int net_remove(struct request *r, struct hoy_err *err);
