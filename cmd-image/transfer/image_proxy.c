/*
 * cmd-image/transfer/image_proxy.c: `experimental-image-proxy`: images for programs that unpack them their own way, as skopeo serves
 * them: a JSON message a packet, and bytes through pipes whose reading ends are passed along.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/proxy_image.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"

#define VERSION "0.2.8"
#define MESSAGE_MAX ((size_t)32 << 10)
#define SAFE_INTEGER (((int64_t)1 << 53) - 1)
#define MOST 10000 /* images and pipes that a client has open at once */

/* ---- pipes ---- */

/* Bytes on their way to the client, by a thread of their own. */
struct pipe {
	struct proxy_image *img; /* that the stream reads from; or NULL */
	struct stream *in;
	char *bytes;	    /* that IN reads, if it isn't the image's */
	struct checked ck;
	bool checking;
	int w;		    /* closed when the client has asked for the outcome: so it cannot forget to */
	int errors;	    /* where an error is told instead, with W closed at the end; or -1 */
	struct hoy_err err;
	pthread_t t;
};

static const char *code_of(const struct hoy_err *err)
{
	return err->code == EPIPE ? "EPIPE" :
	       err->code == HOY_EREMOTE || err->code == ECONNREFUSED || err->code == ECONNRESET || err->code == ETIMEDOUT ? "retryable" : "other";
}

static void pipe_free(struct pipe *p)
{
	if (p->checking)
		checked_release(&p->ck);
	stream_free(p->in);
	proxy_image_unref(p->img);
	hoy_close(p->w);
	hoy_close(p->errors);
	free(p->bytes);
	free(p);
}

static void carry(struct pipe *p)
{
	struct stream *in = p->checking ? &p->ck.s : p->in;
	const unsigned char *d;
	ssize_t n;
	int r;

	while ((n = stream_peek(in, &d, &p->err)) > 0) {
		r = hoy_write_full(p->w, d, n);
		if (r < 0) {
			hoy_fail_errno(&p->err, -r, "cannot write to the client");
			return;
		}
		stream_take(in, n);
	}
	if (!n)
		p->err = (struct hoy_err)HOY_ERR_INIT;
}

static void *carry_checked(void *arg)
{
	carry(arg);
	return NULL;
}

static void *carry_raw(void *arg)
{
	struct pipe *p = arg;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	carry(p);
	if (p->err.code) {
		hoy_jw_object(&w, NULL);
		hoy_jw_string(&w, "code", code_of(&p->err));
		hoy_jw_string(&w, "message", p->err.msg);
		hoy_jw_end_object(&w);
		if (!b.error)
			hoy_write_full(p->errors, b.data, b.len);
	}
	pipe_free(p);
	return NULL;
}

/* ---- the state of a connection ---- */

struct reply {
	struct hoy_buf value; /* JSON; nothing: null */
	int fds[2];
	int n_fds;
	unsigned pipeid;
};

struct proxy {
	int sock;
	const struct reg_opts *reg;
	struct trust trust;
	bool initialized;
	struct proxy_image **images; /* by id; NULL where it is closed; 0 is nobody's */
	size_t n_images;
	struct pipe **pipes;	     /* by the descriptor that is written to */
	size_t n_pipes;
};

static int64_t number(const struct hoy_json *v, struct hoy_err *err)
{
	int64_t n;

	if (!hoy_json_is(v, HOY_JSON_NUMBER) || !hoy_json_int64(v, &n) || n < 0 || n > SAFE_INTEGER)
		return hoy_fail(err, EINVAL, "expecting numeric");
	return n;
}

static int get_image(struct proxy *x, const struct hoy_json *v, struct proxy_image **ret, struct hoy_err *err)
{
	int64_t id = number(v, err);

	if (id < 0)
		return id;
	if (!id)
		return hoy_fail(err, EINVAL, "invalid imageid value of zero");
	if ((uint64_t)id >= x->n_images || !x->images[id])
		return hoy_fail(err, ENOENT, "no image %lld", (long long)id);
	*ret = x->images[id];
	return 0;
}

/* Begin to send what P reads; its end for the client goes into REPLY. P is somebody else's from here on. */
static int start_pipe(struct proxy *x, struct pipe *p, struct reply *reply, struct hoy_err *err)
{
	cleanup_fd int r = -1, errors = -1;
	struct pipe **more;
	bool raw = p->errors >= 0;
	pthread_t t;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		hoy_fail_errno(err, errno, "cannot make a pipe");
		pipe_free(p);
		return -err->code;
	}
	r = ends[0];
	p->w = ends[1];
	if ((size_t)p->w >= x->n_pipes && !raw) {
		more = realloc(x->pipes, (p->w + 1) * sizeof(struct pipe *));
		if (!more) {
			pipe_free(p);
			return hoy_fail_oom(err);
		}
		memset(more + x->n_pipes, 0, (p->w + 1 - x->n_pipes) * sizeof(struct pipe *));
		x->pipes = more;
		x->n_pipes = p->w + 1;
	}
	if (pthread_create(&t, NULL, raw ? carry_raw : carry_checked, p)) {
		pipe_free(p);
		return hoy_fail_oom(err);
	}
	if (raw) {
		pthread_detach(t); /* P may be gone by now. */
	} else {
		p->t = t;
		reply->pipeid = p->w;
		x->pipes[p->w] = p;
	}
	reply->fds[reply->n_fds++] = steal_fd(&r);
	return 0;
}

static struct pipe *new_pipe(void)
{
	struct pipe *p = calloc(1, sizeof(*p));

	if (p)
		p->w = p->errors = -1;
	return p;
}

/* B, which is emptied, through a pipe. */
static int send_bytes(struct proxy *x, struct hoy_buf *b, struct reply *reply, struct hoy_err *err)
{
	struct pipe *p = new_pipe();
	size_t len = b->len;

	if (!p)
		return hoy_fail_oom(err);
	p->bytes = hoy_buf_steal(b);
	p->in = p->bytes ? stream_mem(p->bytes, len) : NULL;
	if (!p->in) {
		pipe_free(p);
		return hoy_fail_oom(err);
	}
	return start_pipe(x, p, reply, err);
}

/* ---- the methods ---- */

typedef int method(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err);

static int initialize(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	(void)args;
	if (x->initialized)
		return hoy_fail(err, EINVAL, "already initialized");
	x->initialized = true;
	hoy_buf_puts(&reply->value, "\"" VERSION "\"");
	return 0;
}

static int open_image(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	const char *name = hoy_json_text(args->child);
	struct proxy_image **more, *img;
	int r;

	if (!name)
		return hoy_fail(err, EINVAL, "expecting string imageref");
	if (x->n_images >= MOST)
		return hoy_fail(err, EMFILE, "more than %d images were opened", MOST);
	r = proxy_image_open(&img, name, x->reg, &x->trust, err);
	if (r < 0)
		return r;
	more = realloc(x->images, (x->n_images + 2) * sizeof(struct proxy_image *));
	if (!more) {
		proxy_image_unref(img);
		return hoy_fail_oom(err);
	}
	x->images = more;
	if (!x->n_images)
		x->images[x->n_images++] = NULL;
	x->images[x->n_images] = img;
	hoy_buf_printf(&reply->value, "%zu", x->n_images++);
	return 0;
}

static int open_optional(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	int r = open_image(x, args, reply, err);

	if (r != -HOY_ENOIMAGE)
		return r;
	hoy_buf_puts(&reply->value, "0");
	return 0;
}

static int close_image(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	struct proxy_image *img = NULL;
	int r = get_image(x, args->child, &img, err);

	(void)reply;
	if (r < 0)
		return r;
	x->images[number(args->child, err)] = NULL;
	proxy_image_unref(img);
	return 0;
}

static int get_manifest(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	struct proxy_image *img = NULL;
	const char *digest;
	int r = get_image(x, args->child, &img, err);

	if (!r)
		r = proxy_image_manifest(img, &b, &digest, err);
	if (r < 0)
		return r;
	hoy_buf_printf(&reply->value, "\"%s\"", digest);
	return send_bytes(x, &b, reply, err);
}

static int send_config(struct proxy *x, const struct hoy_json *args, bool whole, struct reply *reply, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct proxy_image *img = NULL;
	int r = get_image(x, args->child, &img, err);

	if (!r)
		r = proxy_image_config(img, whole, &b, err);
	return r ? r : send_bytes(x, &b, reply, err);
}

static int get_config(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	return send_config(x, args, false, reply, err);
}

static int get_full_config(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	return send_config(x, args, true, reply, err);
}

/* A pipe for the blob that ARGS names, which is read already. */
static int open_blob(struct proxy *x, const struct hoy_json *args, struct pipe **ret, struct reply *reply, struct hoy_err *err)
{
	const char *digest = hoy_json_text(args->child->next);
	struct proxy_image *img = NULL;
	struct pipe *p;
	int64_t size;
	int r = get_image(x, args->child, &img, err);

	if (!r && !digest)
		r = hoy_fail(err, EINVAL, "expecting string blobid");
	if (r < 0)
		return r;
	p = new_pipe();
	r = p ? proxy_image_blob(img, digest, &p->in, &size, err) : hoy_fail_oom(err);
	if (r < 0) {
		free(p);
		return r;
	}
	p->img = proxy_image_ref(img);
	hoy_buf_printf(&reply->value, "%lld", (long long)size);
	*ret = p;
	return 0;
}

static int get_blob(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	int64_t size = number(args->child->next->next, err);
	struct pipe *p;
	int r = size < 0 ? (int)size : open_blob(x, args, &p, reply, err);

	if (r < 0)
		return r;
	p->bytes = strdup(hoy_json_text(args->child->next)); /* what is expected outlives the request */
	r = p->bytes ? checked_init(&p->ck, p->in, p->bytes, size, err) : hoy_fail_oom(err);
	p->checking = !r;
	if (r < 0) {
		pipe_free(p);
		return r;
	}
	return start_pipe(x, p, reply, err);
}

static int get_raw_blob(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	cleanup_fd int errors = -1;
	struct pipe *p;
	int ends[2], r = open_blob(x, args, &p, reply, err);

	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		hoy_fail_errno(err, errno, "cannot make a pipe");
		pipe_free(p);
		return -err->code;
	}
	errors = ends[0];
	p->errors = ends[1];
	r = start_pipe(x, p, reply, err);
	if (!r)
		reply->fds[reply->n_fds++] = steal_fd(&errors);
	return r;
}

static int get_layers(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	struct proxy_image *img = NULL;
	int r = get_image(x, args->child, &img, err);

	return r ? r : proxy_image_layers(img, &reply->value, err);
}

static int get_layers_piped(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct proxy_image *img = NULL;
	int r = get_image(x, args->child, &img, err);

	if (!r)
		r = proxy_image_layers(img, &b, err);
	return r ? r : send_bytes(x, &b, reply, err);
}

static int finish_pipe(struct proxy *x, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	int64_t id = number(args->child, err);
	struct pipe *p;
	int r;

	(void)reply;
	if (id < 0)
		return id;
	if ((uint64_t)id >= x->n_pipes || !x->pipes[id])
		return hoy_fail(err, ENOENT, "finishpipe: no active pipe %lld", (long long)id);
	p = x->pipes[id];
	x->pipes[id] = NULL;
	pthread_join(p->t, NULL);
	*err = p->err;
	r = -err->code;
	pipe_free(p);
	return r;
}

static const struct {
	const char *name;
	method *call;
	unsigned args;
} methods[] = {
	{ "Initialize", initialize, 0 },
	{ "OpenImage", open_image, 1 },
	{ "OpenImageOptional", open_optional, 1 },
	{ "CloseImage", close_image, 1 },
	{ "GetManifest", get_manifest, 1 },
	{ "GetConfig", get_config, 1 },
	{ "GetFullConfig", get_full_config, 1 },
	{ "GetBlob", get_blob, 3 },
	{ "GetRawBlob", get_raw_blob, 2 },
	{ "GetLayerInfo", get_layers, 1 },
	{ "GetLayerInfoPiped", get_layers_piped, 1 },
	{ "FinishPipe", finish_pipe, 1 },
};

static int dispatch(struct proxy *x, const char *name, const struct hoy_json *args, struct reply *reply, struct hoy_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(methods[i].name, name))
			continue;
		if (i && !x->initialized && methods[i].call != finish_pipe)
			return hoy_fail(err, EINVAL, "client error: must invoke Initialize");
		if ((args ? args->count : 0) != methods[i].args)
			return hoy_fail(err, EINVAL, "invalid request, %s takes %u arguments, not %u", name, methods[i].args, args ? args->count : 0);
		return methods[i].call(x, args, reply, err);
	}
	return hoy_fail(err, EINVAL, "unknown method: %.100s", name);
}

/* ---- messages ---- */

static int send_reply(struct proxy *x, const struct reply *reply, const struct hoy_err *why, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} c = { .room = "" };
	struct iovec v;
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_bool(&w, "success", !why->code);
	hoy_jw_raw(&w, "value", !why->code && reply->value.len ? reply->value.data : "null");
	hoy_jw_int(&w, "pipeid", why->code ? 0 : reply->pipeid);
	hoy_jw_string(&w, "error_code", why->code ? code_of(why) : "");
	hoy_jw_string(&w, "error", why->code ? why->msg : "");
	hoy_jw_end_object(&w);
	if (b.error)
		return hoy_fail_oom(err);
	v = (struct iovec){ b.data, b.len };
	if (reply->n_fds) {
		m.msg_control = &c;
		m.msg_controllen = CMSG_SPACE(reply->n_fds * sizeof(int));
		c.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(reply->n_fds * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&c.h), reply->fds, reply->n_fds * sizeof(int));
	}
	while (sendmsg(x->sock, &m, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return hoy_fail_errno(err, errno, "cannot answer the client");
	return 0;
}

/* One request. 1: it was the last one. */
static int serve(struct proxy *x, const char *text, size_t len, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct reply reply = { .value = HOY_BUF_INIT(HOY_BUF_OURS) };
	struct hoy_err why = HOY_ERR_INIT;
	const struct hoy_json *args;
	const char *name;
	int r;

	r = hoy_json_parse(&doc, text, len, "request", &why);
	name = hoy_json_str(doc.root, "method");
	args = hoy_json_get(doc.root, "args");
	if (name && !strcmp(name, "Shutdown"))
		return 1;
	if (!r && args && args->type != HOY_JSON_ARRAY && args->type != HOY_JSON_NULL)
		r = hoy_fail(&why, EINVAL, "invalid request: its arguments are no array");
	if (!r)
		r = dispatch(x, name ? name : "", hoy_json_is(args, HOY_JSON_ARRAY) ? args : NULL, &reply, &why);
	/* What was tried before it worked is of no interest. */
	if (!r)
		why = (struct hoy_err)HOY_ERR_INIT;
	r = send_reply(x, &reply, &why, err);
	for (int i = 0; i < reply.n_fds; i++)
		hoy_close(reply.fds[i]);
	hoy_buf_release(&reply.value);
	return r;
}

static int serve_all(struct proxy *x, struct hoy_err *err)
{
	cleanup_free char *text = malloc(MESSAGE_MAX);
	ssize_t n;
	int r = text ? 0 : hoy_fail_oom(err);

	while (!r) {
		n = recv(x->sock, text, MESSAGE_MAX, 0);
		if (n < 0 && errno == EINTR && !transfer_cancelled)
			continue;
		if (n <= 0)
			return n < 0 ? hoy_fail_errno(err, errno, "cannot read from the client") : 0;
		r = serve(x, text, n, err);
	}
	return r < 0 ? r : 0;
}

/* ---- the verb ---- */

struct proxy_opts {
	struct reg_opts reg;
	int64_t sockfd;
};
#define P(field) offsetof(struct proxy_opts, field)
static const struct hoy_opt opts[] = {
	REG_LOGIN_OPTS(P(reg), "", ""), REG_PLACE_OPTS(P(reg), "", ""),
	{ 0, "sockfd", HOY_OPT_INT, P(sockfd), "FD", "the socket to serve on (default 0, stdin)" },
	HOY_OPTS_END,
};

static int run_proxy(const struct hoy_verb *v, int argc, char **argv)
{
	struct proxy_opts o = { .reg = REG_OPTS_INIT };
	struct proxy x = { .reg = &o.reg };
	struct hoy_err err = HOY_ERR_INIT;
	socklen_t len = sizeof(int);
	int status, type = 0, n = skopeo_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	x.sock = (int)o.sockfd;
	if (o.sockfd < 0 || o.sockfd > INT32_MAX || getsockopt(x.sock, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET) {
		hoy_fail(&err, EINVAL, "descriptor %lld is no socket of the type SOCK_SEQPACKET", (long long)o.sockfd);
		return skopeo_failed(&err);
	}
	x.trust = skopeo_trust();
	o.reg.registries_d = hoy_globals.registries_d;
	signal(SIGPIPE, SIG_IGN);
	/* What is on its way still ends with us. */
	return serve_all(&x, &err) < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_image_proxy = { "experimental-image-proxy", "[options]", "Serve images to a program over a socket", opts, run_proxy,
					   HOY_VERB_COPIES };
