#include "cmd-image/transfer/web.h"

#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/registry.h"
#include "cmd-image/transfer/transport.h"

/* With the connection that it comes over. */
struct web {
	struct stream s, *in;
	struct registry *server;
};

static ssize_t web_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err) { return stream_peek(((struct web *)s)->in, ret, err); }
static void web_take(struct stream *s, size_t n) { stream_take(((struct web *)s)->in, n); }
static void web_free(struct stream *s)
{
	stream_free(((struct web *)s)->in);
	registry_free(((struct web *)s)->server);
	free(s);
}

struct stream *web_stream(const char *url, int64_t size, struct hoy_err *err)
{
	struct reg_opts anonymous = REG_OPTS_INIT;
	const char *host = strstr(url, "://") + 3;
	cleanup_free char *name = hoy_asprintf("%.*s/import", (int)strcspn(host, "/?#"), host);
	struct web *w = calloc(1, sizeof(*w));

	anonymous.no_creds = true;
	if (!w || !name) {
		free(w);
		hoy_fail_oom(err);
		return NULL;
	}
	w->s = (struct stream){ web_peek, web_take, web_free, NULL };
	if (!registry_new(&w->server, name, url, false, &anonymous, err) && !registry_assume(w->server, url[4] == 's' ? "https" : "http", err) &&
	    !registry_stream(w->server, url, size, NULL, &w->in, err))
		return &w->s;
	web_free(&w->s);
	return NULL;
}
