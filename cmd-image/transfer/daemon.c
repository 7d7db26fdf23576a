#include "cmd-image/transfer/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/http.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/data/ref.h"

#define SOCKET "unix:///var/run/docker.sock"
#define ANSWER_MAX ((size_t)4 << 20)

struct daemon {
	char *host, *base; /* base: what comes before the path in addresses */
	const char *socket; /* in host; or NULL */
	struct tls tls;
	CURL *c;
};

static int find_tls(struct daemon *d, const struct reg_opts *o, struct hoy_err *err)
{
	size_t len;
	int r = 0;

	d->tls.verify = o->tls_verify != 0;
	if (!o->cert_dir)
		return 0;
	d->tls.cert = hoy_path_join(o->cert_dir, "cert.pem");
	d->tls.key = hoy_path_join(o->cert_dir, "key.pem");
	if (d->tls.verify) {
		cleanup_free char *ca = hoy_path_join(o->cert_dir, "ca.pem");

		r = ca ? hoy_read_file(AT_FDCWD, ca, ANSWER_MAX, &d->tls.ca, &len, err) : hoy_fail_oom(err);
	}
	return r ? r : d->tls.cert && d->tls.key ? 0 : hoy_fail_oom(err);
}

int daemon_new(struct daemon **ret, const struct reg_opts *o, struct hoy_err *err)
{
	struct daemon *d = calloc(1, sizeof(*d));
	const char *env = getenv("DOCKER_HOST"), *host = o->daemon_host ? o->daemon_host : env && *env ? env : SOCKET;
	int r = 0;

	if (!d || !(d->host = strdup(host)) || !(d->c = curl_easy_init())) {
		r = d && d->host ? http_no_handle(err) : hoy_fail_oom(err);
		daemon_free(d);
		return r;
	}
	if (!strncmp(host, "unix://", 7)) {
		d->socket = d->host + 7;
		d->base = strdup("http://docker");
	} else if (!strncmp(host, "http://", 7) || !strncmp(host, "https://", 8)) {
		d->base = strdup(host);
	} else if (!strncmp(host, "tcp://", 6)) {
		d->base = hoy_asprintf("https://%s", host + 6);
	} else {
		r = hoy_fail(err, EINVAL, "unable to parse docker host `%s` (unix://PATH, tcp://HOST:PORT, http://HOST:PORT)", host);
	}
	if (!r)
		r = d->base ? find_tls(d, o, err) : hoy_fail_oom(err);
	if (r < 0)
		daemon_free(d);
	else
		*ret = d;
	return r;
}

void daemon_free(struct daemon *d)
{
	if (!d)
		return;
	curl_easy_cleanup(d->c);
	free(d->host);
	free(d->base);
	free(d->tls.ca);
	free(d->tls.cert);
	free(d->tls.key);
	free(d);
}

int daemon_name(const char *rest, bool as_dest, char **ret, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	int r;

	if (hoy_is_digest(rest)) {
		*ret = as_dest ? NULL : strdup(rest);
		return *ret ? 0 : as_dest ? hoy_fail(err, EINVAL, "'docker-daemon:%s' names an image by its id: give it a name and a tag", rest) :
					    hoy_fail_oom(err);
	}
	r = hoy_ref_parse(&ref, rest, err);
	if (r < 0)
		return r;
	if (!ref.tag && !ref.digest)
		return hoy_fail(err, EINVAL, "'docker-daemon:%s' has neither a tag nor a digest", rest);
	if (as_dest && !ref.tag)
		return hoy_fail(err, EINVAL, "'docker-daemon:%s' has no tag", rest);
	if (hoy_ref_normalize(&ref) < 0)
		return hoy_fail_oom(err);
	if (!strcmp(ref.domain, "docker.io")) {
		free(ref.domain);
		ref.domain = NULL;
		if (!strncmp(ref.path, "library/", 8))
			memmove(ref.path, ref.path + 8, strlen(ref.path + 8) + 1);
	}
	*ret = hoy_ref_string(&ref);
	return *ret ? 0 : hoy_fail_oom(err);
}

/* One request with a ring at one end of it; the other end is in the calling thread. */
struct exchange {
	struct daemon *d;
	struct request q;
	struct ring *ring;
	struct answer a;
	struct hoy_err err;
	pthread_t t;
};

static void *exchange(void *arg)
{
	struct exchange *x = arg;

	http_do(x->d->c, &x->d->tls, &x->q, &x->a, &x->err);
	if (x->q.receive)
		ring_end(x->ring, &x->err);
	else
		ring_stop(x->ring);
	return NULL;
}

static int begin(struct exchange *x, struct daemon *d, bool send, struct hoy_err *err)
{
	x->d = d;
	x->ring = ring_new(1 << 20);
	x->q.socket = d->socket;
	x->q.expect = -1;
	x->q.slow_end = true;
	x->q.max = ANSWER_MAX;
	*(send ? &x->q.send : &x->q.receive) = x->ring;
	if (x->ring && !pthread_create(&x->t, NULL, exchange, x))
		return 0;
	stream_free(x->ring ? &x->ring->stream : NULL);
	return hoy_fail_oom(err);
}

static int finish(struct exchange *x, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const char *said = NULL;
	int r = 0;

	pthread_join(x->t, NULL);
	if (x->err.code && x->err.code != ECANCELED)
		r = hoy_fail(err, x->err.code, "cannot reach the docker daemon at '%s': %s", x->d->host, x->err.msg);
	else if (x->err.code)
		r = hoy_fail(err, ECANCELED, "stopped");
	else if (x->a.status != 200) {
		if (x->a.body.len && !hoy_json_parse(&doc, x->a.body.data, x->a.body.len, "answer", NULL))
			said = hoy_json_str(doc.root, "message");
		r = hoy_fail(err, HOY_EREMOTE, "the docker daemon at '%s' answers with status %ld%s%s",
			     x->d->host, x->a.status, said ? ": " : "", said ? said : "");
	}
	stream_free(&x->ring->stream);
	return r;
}

/* The daemon tells of its work in a JSON object a line; one of them may be an error. */
static int find_error(const struct hoy_buf *b, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;

	hoy_strv_split(&lines, hoy_buf_str(b), '\n');
	for (size_t i = 0; i < lines.n; i++) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		const char *said;

		if (!*lines.v[i] || hoy_json_parse(&doc, lines.v[i], strlen(lines.v[i]), "answer", NULL) < 0)
			continue;
		said = hoy_json_str(doc.root, "error");
		if (said)
			return hoy_fail(err, HOY_EREMOTE, "the docker daemon does not take the image: %s", said);
	}
	return 0;
}

int daemon_load(struct daemon *d, int fd, struct hoy_err *err)
{
	cleanup_free char *url = hoy_asprintf("%s/images/load?quiet=1", d->base);
	struct exchange x = { .q = { .method = "POST", .url = url, .type = "application/x-tar" } };
	cleanup_stream struct stream *in = NULL;
	struct stat st;
	const unsigned char *p;
	ssize_t n = 0;
	int r = fstat(fd, &st) < 0 ? hoy_fail_errno(err, errno, "cannot stat a temporary file") : url ? 0 : hoy_fail_oom(err);

	if (!r && !(in = stream_fd(fd, false, 0, st.st_size, "temporary file")))
		r = hoy_fail_oom(err);
	x.q.send_size = r ? 0 : st.st_size;
	if (!r)
		r = begin(&x, d, true, err);
	if (r < 0)
		return r;
	while ((n = stream_peek(in, &p, err)) > 0 && ring_write(x.ring, p, n) >= 0)
		stream_take(in, n);
	ring_end(x.ring, n < 0 ? err : NULL);
	r = finish(&x, err);
	if (!r)
		r = n < 0 ? n : find_error(&x.a.body, err);
	answer_release(&x.a);
	return r;
}

/* The archive of image NAME, which is in the daemon's own words, into a temporary file. */
static int save(struct daemon *d, const char *name, int *ret_fd, struct hoy_err *err)
{
	cleanup_free char *url = NULL;
	char *e = curl_easy_escape(d->c, name, 0);
	struct exchange x = { .q = { .method = "GET" } };
	int r, fd = -1;

	url = e ? hoy_asprintf("%s/images/get?names=%s", d->base, e) : NULL;
	curl_free(e);
	x.q.url = url;
	r = url ? begin(&x, d, false, err) : hoy_fail_oom(err);
	if (!r) {
		struct hoy_err why = HOY_ERR_INIT;

		r = temp_copy(&x.ring->stream, &fd, err);
		ring_stop(x.ring);
		/* The request knows better than the stream why nothing came. */
		if (finish(&x, &why) < 0 && why.code != ECANCELED) {
			*err = why;
			r = -why.code;
		}
		answer_release(&x.a);
	}
	if (r < 0)
		hoy_close(fd);
	else
		*ret_fd = fd;
	return r;
}

/* What inspect calls it: the repository of NAME, none for an id. */
static void set_repository(struct source *s, const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (!hoy_is_digest(name) && !hoy_ref_parse(&ref, name, NULL) && !hoy_ref_normalize(&ref))
		s->repository = hoy_ref_repo(&ref);
}

int source_daemon(struct source **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	cleanup_free char *name = NULL;
	struct daemon *d = NULL;
	char path[40];
	int fd = -1, r = daemon_name(rest, false, &name, err);

	if (!r)
		r = daemon_new(&d, o, err);
	if (!r)
		r = save(d, name, &fd, err);
	daemon_free(d);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = source_docker_archive(ret, path, err);
	hoy_close(fd);
	if (!r) {
		set_repository(*ret, name);
		free((*ret)->name);
		(*ret)->name = hoy_asprintf("docker-daemon:%s", rest);
		if (!(*ret)->name) {
			source_free(*ret);
			r = hoy_fail_oom(err);
		}
	}
	return r;
}
