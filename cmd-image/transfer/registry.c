#include "cmd-image/transfer/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd-image/transfer/auth.h"
#include "cmd-image/transfer/certs.h"
#include "cmd-image/transfer/challenge.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/time.h"

#define TOKEN_MAX ((size_t)256 << 10)
#define RING ((size_t)1 << 20)
#define MUCH ((int64_t)4 << 20)

struct registry {
	char *host, *path, *name, *base; /* base: "https://host" */
	bool insecure, https, catalog;
	const char *actions; /* on the repository, as a token's scope names them */
	int64_t retry, retry_delay; /* ns; 0: growing */
	struct tls tls;
	struct creds creds;
	struct challenge wants;
	char *also; /* another repository to pull from */
	char *token; /* given by the user: none is asked for */
	pthread_mutex_t mu; /* over what follows */
	char *header;	    /* "Bearer ..." or "Basic ..." */
	int64_t expires;
	CURL *idle[16];
	int n_idle;
};

/* ---- making one ---- */

void registry_free(struct registry *r)
{
	if (!r)
		return;
	while (r->n_idle)
		curl_easy_cleanup(r->idle[--r->n_idle]);
	creds_release(&r->creds);
	tls_release(&r->tls);
	free(r->host);
	free(r->path);
	free(r->name);
	free(r->base);
	challenge_release(&r->wants);
	free(r->also);
	free(r->token);
	free(r->header);
	pthread_mutex_destroy(&r->mu);
	free(r);
}

void reg_opts_share(struct reg_opts *to, const struct reg_opts *both)
{
	if (!to->authfile)
		to->authfile = both->authfile;
	if (both->retry != 3)
		to->retry = both->retry;
	if (both->retry_delay)
		to->retry_delay = both->retry_delay;
}

int reg_opts_check(const struct reg_opts *o, struct hoy_err *err)
{
	bool user = o->user && *o->user, password = o->password && *o->password;
	int64_t ns;

	if (o->creds && o->no_creds)
		return hoy_fail(err, EINVAL, "creds and no-creds cannot be specified at the same time");
	if (o->creds && (!*o->creds || *o->creds == ':'))
		return hoy_fail(err, EINVAL, "%s can't be empty", *o->creds ? "username" : "credentials");
	if (o->creds && (user || password))
		return hoy_fail(err, EINVAL, "creds and username/password cannot be specified at the same time");
	if (o->no_creds && (user || password))
		return hoy_fail(err, EINVAL, "no-creds and username/password cannot be specified at the same time");
	if (user != password)
		return hoy_fail(err, EINVAL, "%s must be specified together with %s", user ? "username" : "password", user ? "password" : "username");
	if (o->retry_delay && !hoy_duration_parse(o->retry_delay, &ns))
		return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--retry-delay\" flag: no duration", o->retry_delay);
	if (o->retry < 0)
		return hoy_fail(err, EINVAL, "the number of attempts, %lld, is negative", (long long)o->retry);
	return 0;
}

static int find_creds(struct registry *r, const struct reg_opts *o, struct hoy_err *err)
{
	const char *creds = o->creds, *colon = creds ? strchr(creds, ':') : NULL;

	if (o->no_creds)
		return 0;
	if (o->token && !(r->token = strdup(o->token)))
		return hoy_fail_oom(err);
	if (o->user && *o->user) {
		r->creds.user = strdup(o->user);
		r->creds.password = strdup(o->password);
	} else if (creds) {
		r->creds.user = strndup(creds, colon ? (size_t)(colon - creds) : strlen(creds));
		r->creds.password = strdup(colon ? colon + 1 : "");
	} else {
		return auth_find(&r->creds, r->name, o->authfile, err);
	}
	return r->creds.user && r->creds.password ? 0 : hoy_fail_oom(err);
}

int registry_new(struct registry **ret, const char *repo, const char *name, bool insecure, const struct reg_opts *o,
		 struct hoy_err *err)
{
	struct registry *r = calloc(1, sizeof(*r));
	const char *slash = strchr(repo, '/');
	int res;

	if (!r)
		return hoy_fail_oom(err);
	pthread_mutex_init(&r->mu, NULL);
	r->host = slash ? strndup(repo, slash - repo) : strdup(repo);
	r->path = strdup(slash ? slash + 1 : "");
	r->name = strdup(name);
	r->insecure = o->tls_verify < 0 ? insecure : !o->tls_verify;
	r->tls.verify = !r->insecure;
	r->retry = o->retry;
	if (o->retry_delay)
		hoy_duration_parse(o->retry_delay, &r->retry_delay);
	res = reg_opts_check(o, err);
	res = res < 0 ? res : !r->host || !r->path || !r->name ? hoy_fail_oom(err) : tls_load(&r->tls, r->host, o->cert_dir, err);
	if (!res)
		res = find_creds(r, o, err);
	if (res < 0)
		registry_free(r);
	else
		*ret = r;
	return res;
}

const char *registry_path(const struct registry *r) { return r->path; }
const char *registry_host(const struct registry *r) { return r->host; }
const char *registry_base(const struct registry *r) { return r->base; }
bool registry_https(const struct registry *r) { return r->https; }

void registry_ask_catalog(struct registry *r) { r->catalog = true; }

char *registry_next_page(const struct answer *a)
{
	const char *from = a->link && strstr(a->link, "rel=\"next\"") ? strchr(a->link, '<') : NULL, *to = from ? strchr(from, '>') : NULL;

	return to ? strndup(from + 1, to - from - 1) : NULL;
}

void registry_also_pull(struct registry *r, const char *path)
{
	pthread_mutex_lock(&r->mu);
	if (!r->also || strcmp(r->also, path)) {
		free(r->also);
		r->also = strdup(path);
		if (r->wants.kind == AUTH_BEARER) {
			free(r->header);
			r->header = NULL;
		}
	}
	pthread_mutex_unlock(&r->mu);
}

/* ---- handles ---- */

static CURL *take_handle(struct registry *r)
{
	CURL *c = NULL;

	pthread_mutex_lock(&r->mu);
	if (r->n_idle)
		c = r->idle[--r->n_idle];
	pthread_mutex_unlock(&r->mu);
	return c ? c : curl_easy_init();
}

static void give_handle(struct registry *r, CURL *c)
{
	pthread_mutex_lock(&r->mu);
	if (r->n_idle < (int)ARRAY_SIZE(r->idle)) {
		r->idle[r->n_idle++] = c;
		c = NULL;
	}
	pthread_mutex_unlock(&r->mu);
	if (c)
		curl_easy_cleanup(c);
}

/* ---- logging in ---- */

static void learn(struct registry *r, const struct answer *a)
{
	challenge_release(&r->wants);
	for (int i = 0; i < a->n_auth; i++)
		if (a->auth[i])
			challenge_add(&r->wants, a->auth[i]);
}

static char *basic(const struct creds *c)
{
	cleanup_free char *b64 = auth_basic(c->user, c->password);

	return b64 ? hoy_asprintf("Basic %s", b64) : NULL;
}

static void add_param(CURL *c, struct hoy_buf *b, char sep, const char *key, const char *value)
{
	char *e = value ? curl_easy_escape(c, value, 0) : NULL;

	if (e)
		hoy_buf_printf(b, "%c%s=%s", sep, key, e);
	curl_free(e);
}

static int take_token(struct registry *r, const struct answer *a, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const char *token;

	if (a->status == 401 || a->status == 403 || a->status == 400)
		return hoy_fail(err, HOY_EAUTH, "'%s' does not let us into '%s' (run: hoy login %s)", r->host, r->name, r->host);
	if (a->status != 200)
		return hoy_fail(err, HOY_EREMOTE, "the token server of '%s' answers with status %ld", r->host, a->status);
	if (hoy_json_parse(&doc, hoy_buf_str(&a->body), a->body.len, "token", err) < 0)
		return hoy_fail(err, HOY_EREMOTE, "the token server of '%s' sends no token", r->host);
	token = hoy_json_str(doc.root, "token");
	if (!token || !*token)
		token = hoy_json_str(doc.root, "access_token");
	if (!token || !*token || strpbrk(token, "\r\n"))
		return hoy_fail(err, HOY_EREMOTE, "the token server of '%s' sends no token", r->host);
	free(r->header);
	r->header = hoy_asprintf("Bearer %s", token);
	r->expires = hoy_now() + (hoy_json_int(doc.root, "expires_in", 60) - 5) * HOY_NS;
	return r->header ? 0 : hoy_fail_oom(err);
}

static int get_token(struct registry *r, CURL *c, struct hoy_err *err)
{
	cleanup_answer struct answer a = { 0 };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(64 << 10);
	cleanup_free char *auth = NULL, *scope = NULL, *also = NULL;
	struct request q = { .method = "GET", .max = TOKEN_MAX };
	int res;

	if (strncmp(r->wants.realm, "https://", 8) && strncmp(r->wants.realm, "http://", 7))
		return hoy_fail(err, HOY_EREMOTE, "the token server '%s' of '%s' is no web address", r->wants.realm, r->host);
	if (r->catalog)
		scope = strdup("registry:catalog:*");
	else if (*r->path)
		scope = hoy_asprintf("repository:%s:%s", r->path, r->actions);
	if (r->also)
		also = hoy_asprintf("repository:%s:pull", r->also);
	if (r->creds.token) {
		hoy_buf_puts(&b, "grant_type=refresh_token&client_id=hoy");
		add_param(c, &b, '&', "service", r->wants.service);
		add_param(c, &b, '&', "scope", scope);
		add_param(c, &b, '&', "refresh_token", r->creds.token);
		q = (struct request){ .method = "POST", .url = r->wants.realm, .body = hoy_buf_str(&b), .body_len = b.len,
				      .type = "application/x-www-form-urlencoded", .max = TOKEN_MAX };
	} else {
		hoy_buf_puts(&b, r->wants.realm);
		add_param(c, &b, strchr(r->wants.realm, '?') ? '&' : '?', "service", r->wants.service);
		add_param(c, &b, '&', "scope", scope);
		add_param(c, &b, '&', "scope", also);
		add_param(c, &b, '&', "account", r->creds.user);
		q.url = hoy_buf_str(&b);
		q.authorization = auth = r->creds.user ? basic(&r->creds) : NULL;
	}
	res = http_do(c, &r->tls, &q, &a, err);
	if (res < 0)
		return hoy_fail_prefix(err, "cannot ask the token server of '%s'", r->host);
	return take_token(r, &a, err);
}

/* The header for the next request, in new memory; FRESH: the last one was refused. */
static int authorize(struct registry *r, CURL *c, bool fresh, char **ret, struct hoy_err *err)
{
	int res = 0;

	pthread_mutex_lock(&r->mu);
	if (r->wants.kind == AUTH_BEARER && r->token) {
		if (!r->header && strpbrk(r->token, "\r\n"))
			res = hoy_fail(err, EINVAL, "the token has line ends in it");
		else if (!r->header && !(r->header = hoy_asprintf("Bearer %s", r->token)))
			res = hoy_fail_oom(err);
	} else if (r->wants.kind == AUTH_BEARER && (!r->header || fresh || hoy_now() > r->expires))
		res = get_token(r, c, err);
	else if (r->wants.kind == AUTH_BASIC && !r->header && r->creds.user)
		r->header = basic(&r->creds);
	*ret = !res && r->header && r->wants.kind != AUTH_NONE ? strdup(r->header) : NULL;
	pthread_mutex_unlock(&r->mu);
	return res;
}

/* ---- requests ---- */

static void wait_before(struct registry *r, int try, const struct answer *a, const char *why)
{
	int64_t ns = r->retry_delay ? r->retry_delay : HOY_NS / 2 << (try < 5 ? try : 5);
	struct timespec ts;

	if (a->retry_after > 0)
		ns = (a->retry_after < 60 ? a->retry_after : 60) * HOY_NS;
	hoy_warning("'%s': %s, trying again in %.1f s", r->host, why, ns / 1e9);
	for (; ns > 0 && !transfer_cancelled; ns -= HOY_NS / 10) {
		ts = (struct timespec){ 0, ns < HOY_NS / 10 ? ns : HOY_NS / 10 };
		nanosleep(&ts, NULL);
	}
}

bool registry_try_again(struct registry *r, int *tries, int64_t got, const struct answer *a, const struct hoy_err *err)
{
	char why[200];

	/* What gets on well has all its attempts again; a trickle has not. */
	if (got >= MUCH)
		*tries = 0;
	if (!a->again || *tries >= r->retry || transfer_cancelled)
		return false;
	if (err->code)
		snprintf(why, sizeof(why), "%.150s", err->msg);
	else
		snprintf(why, sizeof(why), "status %ld", a->status);
	wait_before(r, (*tries)++, a, why);
	return !transfer_cancelled;
}

/* The whole dance for one request: log in, try again. */
static int perform(struct registry *r, struct request *q, struct answer *a, struct hoy_err *err)
{
	struct hoy_err none = HOY_ERR_INIT;
	CURL *c = take_handle(r);
	bool fresh = false;
	int res, tries = 0, logins = 0;

	if (!err)
		err = &none;
	if (!c)
		return http_no_handle(err);
	for (;;) {
		cleanup_free char *header = NULL;
		int64_t before = q->got;

		*err = (struct hoy_err)HOY_ERR_INIT;
		/* Where a registry sends us elsewhere for an upload, it has put what is needed into the address. */
		if (!strncmp(q->url, r->base, strlen(r->base)) && q->url[strlen(r->base)] == '/')
			res = authorize(r, c, fresh, &header, err);
		else
			res = 0;
		if (res < 0)
			break;
		q->authorization = header;
		res = http_do(c, &r->tls, q, a, err);
		q->authorization = NULL;
		if (!res && a->status == 401 && a->n_auth && !logins++ && !q->send) {
			pthread_mutex_lock(&r->mu);
			learn(r, a);
			pthread_mutex_unlock(&r->mu);
			fresh = true;
			continue;
		}
		fresh = false;
		if (!res && a->status == 416 && q->receive && q->got && !q->whole) {
			q->whole = true;
			continue;
		}
		if (q->send || !registry_try_again(r, &tries, q->got - before, a, err))
			break;
	}
	give_handle(r, c);
	return res;
}

/* What failed says of which repository it was. */
static int tell(struct registry *r, int res, struct hoy_err *err)
{
	return res < 0 && res != -HOY_EAUTH && res != -ECANCELED ? hoy_fail_prefix(err, "'%s'", r->name) : res;
}

static char *make_url(struct registry *r, const char *path)
{
	if (!strncmp(path, "http://", 7) || !strncmp(path, "https://", 8))
		return strdup(path);
	return hoy_asprintf("%s%s%s", r->base, *path == '/' ? "" : "/", path);
}

int registry_do(struct registry *r, const char *method, const char *path, const char *accept, const char *type, const void *body,
		size_t len, size_t max, struct answer *ret, struct hoy_err *err)
{
	cleanup_free char *url = make_url(r, path);
	struct request q = { .method = method, .url = url, .accept = accept, .type = type, .body = body, .body_len = len, .max = max,
			     .slow_end = !strcmp(method, "PUT"), .expect = -1 };

	return url ? tell(r, perform(r, &q, ret, err), err) : hoy_fail_oom(err);
}

int registry_send(struct registry *r, const char *method, const char *path, struct ring *ring, int64_t from, int64_t size,
		  struct answer *ret, struct hoy_err *err)
{
	cleanup_free char *url = make_url(r, path);
	struct request q = { .method = method, .url = url, .send = ring, .send_from = from, .send_size = size < 0 ? -1 : size - from,
			     .max = 64 << 10, .slow_end = true, .expect = -1 };

	return url ? perform(r, &q, ret, err) : hoy_fail_oom(err);
}

int registry_assume(struct registry *r, const char *scheme, struct hoy_err *err)
{
	free(r->base);
	r->base = hoy_asprintf("%s://%s", scheme, !strcmp(r->host, "docker.io") ? "registry-1.docker.io" : r->host);
	r->https = !strcmp(scheme, "https");
	return r->base ? 0 : hoy_fail_oom(err);
}

/* The first request: Q for PATH by SCHEME. A 401 is fine: its challenge says how to log in. */
static int knock(struct registry *r, CURL *c, const char *scheme, const char *path, struct request *q, int64_t retry, struct answer *a,
		 struct hoy_err *err)
{
	cleanup_free char *url = NULL;
	int res;

	if (registry_assume(r, scheme, err) < 0 || !(url = hoy_asprintf("%s%s", r->base, path)))
		return hoy_fail_oom(err);
	q->url = url;
	for (int tries = 0;;) {
		res = http_do(c, &r->tls, q, a, err);
		if (!a->again || res == -EPROTO || tries >= retry || transfer_cancelled)
			return res;
		wait_before(r, tries++, a, res < 0 ? err->msg : "not available");
	}
}

void registry_ask_all(struct registry *r) { r->actions = "*"; }

/* Why nobody answers, and what can be done about it. */
static int unreachable(const struct registry *r, int res, struct hoy_err *err)
{
	struct hoy_err why = err ? *err : (struct hoy_err)HOY_ERR_INIT;

	if (res == -ECANCELED)
		return res;
	if (res == -EPROTO && !r->insecure)
		return hoy_fail(err, EPROTO, "'%s' does not speak TLS (--tls-verify=false allows plain HTTP, as insecure = true does for this location in registries.conf)",
				r->host);
	if (res == -EKEYREJECTED)
		return hoy_fail(err, EKEYREJECTED, "the certificate of '%s' is not trusted: %s (a CA of its own belongs into /etc/containers/certs.d/%s/ca.crt)",
				r->host, why.msg, r->host);
	return hoy_fail_prefix(err, "cannot reach the registry '%s'", r->host);
}

/* Q for PATH, to somebody of whom nothing is known yet: finds out the scheme and the way to log in. */
static int approach(struct registry *r, const char *path, struct request *q, struct answer *a, struct hoy_err *err)
{
	CURL *c = take_handle(r);
	int res;

	if (!c)
		return http_no_handle(err);
	res = knock(r, c, "https", path, q, r->insecure ? 0 : r->retry, a, err);
	if (res < 0 && r->insecure)
		res = knock(r, c, "http", path, q, r->retry, a, err);
	give_handle(r, c);
	if (res < 0)
		return unreachable(r, res, err);
	if (a->status == 401)
		learn(r, a);
	return 0;
}

int registry_ping(struct registry *r, bool push, struct hoy_err *err)
{
	struct request q = { .method = "GET", .max = TOKEN_MAX, .expect = -1 };
	cleanup_answer struct answer a = { 0 };
	int res;

	r->actions = push ? "pull,push" : "pull";
	res = approach(r, "/v2/", &q, &a, err);
	if (res < 0 || a.status == 200 || a.status == 401 || a.status == 404)
		return res;
	return registry_refused(r, &a, "/v2/", err);
}

int registry_get_first(struct registry *r, const char *path, const char *accept, size_t max, struct answer *ret, struct hoy_err *err)
{
	struct request q = { .method = "GET", .accept = accept, .max = max, .expect = -1 };
	int res;

	r->actions = "pull";
	res = approach(r, path, &q, ret, err);
	if (res < 0 || ret->status != 401)
		return res;
	return registry_do(r, "GET", path, accept, NULL, NULL, 0, max, ret, err);
}

bool registry_says(const struct answer *a, const char *code)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const struct hoy_json *list;
	const char *said;

	if (!a->body.len || hoy_json_parse(&doc, a->body.data, a->body.len, "answer", NULL) < 0)
		return false;
	list = hoy_json_get(doc.root, "errors");
	said = list ? hoy_json_str(list->child, "code") : NULL;
	return said && !strcmp(said, code);
}

int registry_refused(struct registry *r, const struct answer *a, const char *what, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const struct hoy_json *list, *e;
	const char *msg = NULL;

	if (a->body.len && !hoy_json_parse(&doc, a->body.data, a->body.len, "answer", NULL)) {
		list = hoy_json_get(doc.root, "errors");
		e = list ? list->child : NULL;
		msg = hoy_json_str(e, "message");
		if (!msg || !*msg)
			msg = hoy_json_str(e, "code");
	}
	if (a->status == 401 || a->status == 403)
		return hoy_fail(err, HOY_EAUTH, "'%s' refuses access to %s of '%s'%s%s (run: hoy login %s)", r->host, what, r->name,
				msg ? ": " : "", msg ? msg : "", r->host);
	if (a->status == 404)
		return hoy_fail(err, ENOENT, "'%s' has no %s of '%s'%s%s", r->host, what, r->name, msg ? ": " : "", msg ? msg : "");
	return hoy_fail(err, HOY_EREMOTE, "'%s' answers with status %ld for %s of '%s'%s%s", r->host, a->status, what, r->name,
			msg ? ": " : "", msg ? msg : "");
}

/* ---- streams ---- */

struct reg_stream {
	struct stream s;
	struct registry *r;
	struct ring *ring;
	struct part *part;
	char *url, *what;
	int64_t size;
	pthread_t t;
};

/* Give what the part has. 0, or -EPIPE: the reader has stopped. */
static int replay(struct reg_stream *x, struct hoy_err *err)
{
	for (int64_t at = 0; at < x->part->have;) {
		int64_t left = x->part->have - at;
		unsigned char *p;
		ssize_t room = ring_room(x->ring, &p), n;

		if (room < 0)
			return room;
		n = pread(x->part->lock.fd, p, room < left ? room : left, at);
		if (n <= 0)
			return hoy_fail_errno(err, n ? errno : EIO, "cannot read what is there of %s", x->what);
		ring_add(x->ring, n);
		at += n;
	}
	return 0;
}

static void *fetch(void *arg)
{
	struct reg_stream *x = arg;
	cleanup_answer struct answer a = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	int64_t have = x->part ? x->part->have : 0;
	struct request q = { .method = "GET", .url = x->url, .receive = x->ring, .expect = x->size, .part = x->part, .got = have };
	int r = have ? replay(x, &err) : 0;

	if (!r && (!have || have != x->size)) {
		r = tell(x->r, perform(x->r, &q, &a, &err), &err);
		if (!r && a.status / 100 != 2)
			registry_refused(x->r, &a, x->what, &err);
	}
	if (x->part)
		part_flush(x->part);
	ring_end(x->ring, &err);
	return NULL;
}

static ssize_t rs_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	return stream_peek(&((struct reg_stream *)s)->ring->stream, ret, err);
}
static void rs_take(struct stream *s, size_t n) { stream_take(&((struct reg_stream *)s)->ring->stream, n); }

static void rs_free(struct stream *s)
{
	struct reg_stream *x = (struct reg_stream *)s;

	ring_stop(x->ring);
	pthread_join(x->t, NULL);
	stream_free(&x->ring->stream);
	free(x->url);
	free(x->what);
	free(x);
}

int registry_stream(struct registry *r, const char *path, int64_t size, struct part *part, struct stream **ret, struct hoy_err *err)
{
	struct reg_stream *x = calloc(1, sizeof(*x));
	const char *slash = strrchr(path, '/');

	if (!x)
		return hoy_fail_oom(err);
	x->s = (struct stream){ rs_peek, rs_take, rs_free, NULL };
	x->r = r;
	x->part = part;
	x->size = size;
	x->url = make_url(r, path);
	x->what = hoy_asprintf("blob %s", slash ? slash + 1 : path);
	x->ring = ring_new(RING);
	if (!x->url || !x->what || !x->ring || pthread_create(&x->t, NULL, fetch, x)) {
		stream_free(x->ring ? &x->ring->stream : NULL);
		free(x->url);
		free(x->what);
		free(x);
		return hoy_fail_oom(err);
	}
	*ret = &x->s;
	return 0;
}
