#include "cmd-image/transfer/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cli/opts.h"

#define ERROR_BODY ((size_t)16 << 10)
#define MAX_HEADERS 200

struct transfer {
	CURL *c;
	struct request *q;
	struct answer *a;
	int64_t skip; /* of a body that starts over, what we have already */
	bool begun, too_large, stopped, wrong_range;
	int headers;
};

int http_no_handle(struct hoy_err *err) { return hoy_fail(err, ENOSYS, "cannot talk to a server: %s", curl_easy_strerror(CURLE_FAILED_INIT)); }

void answer_release(struct answer *a)
{
	free(a->type);
	free(a->digest);
	free(a->location);
	free(a->link);
	for (int i = 0; i < a->n_auth; i++)
		free(a->auth[i]);
	hoy_buf_release(&a->body);
	memset(a, 0, sizeof(*a));
}

static void answer_reset(struct answer *a, size_t max)
{
	answer_release(a);
	a->length = a->range_start = a->kept = -1;
	a->body.max = max + 1;
}

static void keep(char **to, const char *value, size_t n)
{
	free(*to);
	*to = strndup(value, n);
}

static size_t on_header(char *line, size_t one, size_t n, void *arg)
{
	struct transfer *t = arg;
	char *colon = memchr(line, ':', n), *v;
	size_t name, len;

	if (n > 5 && !strncmp(line, "HTTP/", 5)) {
		/* Of several answers (redirects, 100 Continue) the last one counts. */
		size_t max = t->a->body.max;

		answer_reset(t->a, max - 1);
		return n;
	}
	if (++t->headers > MAX_HEADERS)
		return 0;
	if (!colon)
		return n;
	name = colon - line;
	v = colon + 1;
	len = line + n - v;
	while (len && (*v == ' ' || *v == '\t'))
		v++, len--;
	while (len && (v[len - 1] == '\r' || v[len - 1] == '\n' || v[len - 1] == ' '))
		len--;
#define IS(text) (name == sizeof(text) - 1 && !strncasecmp(line, text, name))
	if (IS("content-type"))
		keep(&t->a->type, v, strcspn(v, ";\r\n ") < len ? strcspn(v, ";\r\n ") : len);
	else if (IS("docker-content-digest"))
		keep(&t->a->digest, v, len);
	else if (IS("oci-subject"))
		t->a->subject = true;
	else if (IS("location"))
		keep(&t->a->location, v, len);
	else if (IS("link"))
		keep(&t->a->link, v, len);
	else if (IS("www-authenticate") && t->a->n_auth < (int)ARRAY_SIZE(t->a->auth))
		t->a->auth[t->a->n_auth++] = strndup(v, len);
	else if (IS("content-length"))
		t->a->length = strtoll(v, NULL, 10);
	else if (IS("range") && memchr(v, '-', len))
		t->a->kept = strtoll((char *)memchr(v, '-', len) + 1, NULL, 10) + 1;
	else if (IS("content-range") && len > 6 && !strncasecmp(v, "bytes ", 6))
		t->a->range_start = strtoll(v + 6, NULL, 10);
#undef IS
	return n;
}

/* The first bytes of a good body: do they begin where we stopped? */
static void begin(struct transfer *t, long status)
{
	t->begun = true;
	if (status == 200)
		t->skip = t->q->got;
	else if (status == 206 && t->a->range_start != t->q->got)
		t->wrong_range = true;
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
	struct transfer *t = arg;
	long status = 0;

	curl_easy_getinfo(t->c, CURLINFO_RESPONSE_CODE, &status);
	if (!t->q->receive || (status != 200 && status != 206)) {
		if (t->a->body.len + n > (t->q->receive ? ERROR_BODY : t->q->max)) {
			t->too_large = true;
			return 0;
		}
		hoy_buf_add(&t->a->body, data, n);
		return t->a->body.error ? 0 : n;
	}
	if (!t->begun)
		begin(t, status);
	if (t->wrong_range)
		return 0;
	one = (int64_t)n < t->skip ? n : (size_t)t->skip;
	t->skip -= one;
	if (t->q->part)
		part_add(t->q->part, data + one, n - one);
	if (n > one && ring_write(t->q->receive, data + one, n - one) < 0) {
		t->stopped = true;
		return 0;
	}
	t->q->got += n - one;
	return n;
}

static size_t on_send(char *to, size_t one, size_t n, void *arg)
{
	struct transfer *t = arg;
	struct hoy_err err = HOY_ERR_INIT;
	const unsigned char *p;
	ssize_t have = stream_peek(&t->q->send->stream, &p, &err);

	if (have < 0)
		return CURL_READFUNC_ABORT;
	if ((size_t)have > one * n)
		have = one * n;
	memcpy(to, p, have);
	stream_take(&t->q->send->stream, have);
	return have;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	return transfer_cancelled;
}

static long stall_seconds(const struct request *q)
{
	const char *env = getenv("HOY_STALL_TIMEOUT");
	long n = env ? atol(env) : 0;

	return n > 0 ? n : q->slow_end ? 300 : 30;
}

void http_trust(CURL *c, const struct tls *tls)
{
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, (long)tls->verify);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, tls->verify ? 2L : 0L);
	if (tls->ca) {
		struct curl_blob blob = { tls->ca, strlen(tls->ca), CURL_BLOB_NOCOPY };

		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
	}
	if (tls->cert)
		curl_easy_setopt(c, CURLOPT_SSLCERT, tls->cert);
	if (tls->key)
		curl_easy_setopt(c, CURLOPT_SSLKEY, tls->key);
}

static struct curl_slist *header(struct curl_slist *l, const char *name, const char *value)
{
	char *text = value ? hoy_asprintf("%s: %s", name, value) : NULL;
	struct curl_slist *more = text ? curl_slist_append(l, text) : NULL;

	free(text);
	return more ? more : l;
}

static const char *user_agent(void)
{
	static char text[300] = "hoy/" HOY_VERSION;

	if (hoy_globals.user_agent && !strpbrk(hoy_globals.user_agent, "\r\n"))
		snprintf(text, sizeof(text), "%s hoy/" HOY_VERSION, hoy_globals.user_agent);
	return text;
}

static struct curl_slist *prepare(struct transfer *t)
{
	struct request *q = t->q;
	struct curl_slist *h = curl_slist_append(NULL, "Expect:");
	char range[60];
	CURL *c = t->c;

	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_URL, q->url);
	curl_easy_setopt(c, CURLOPT_USERAGENT, user_agent());
	if (q->socket)
		curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, q->socket);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	/* curl hands "Authorization:" on to no other host, port or scheme. */
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, !strcmp(q->method, "GET") || !strcmp(q->method, "HEAD") ? 1L : 0L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 20L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 10L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, stall_seconds(q));
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L << 10);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	if (!strcmp(q->method, "HEAD"))
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	if (q->send) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
		curl_easy_setopt(c, CURLOPT_READDATA, t);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->send_size);
	} else if (q->body || !strcmp(q->method, "POST") || !strcmp(q->method, "PUT")) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->body ? q->body : "");
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_len);
		h = header(h, "Content-Type", q->type ? q->type : "application/octet-stream");
	}
	if (q->send)
		h = header(h, "Content-Type", "application/octet-stream");
	if (q->send && q->send_from && q->send_size >= 0) {
		snprintf(range, sizeof(range), "%lld-%lld", (long long)q->send_from, (long long)(q->send_from + q->send_size - 1));
		h = header(h, "Content-Range", range);
	}
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
	if (!strcmp(q->method, "HEAD") || !strcmp(q->method, "GET"))
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, NULL);
	h = header(h, "Accept", q->accept);
	h = header(h, "Authorization", q->authorization);
	if (q->receive && q->got && !q->whole) {
		snprintf(range, sizeof(range), "%lld-", (long long)q->got);
		curl_easy_setopt(c, CURLOPT_RANGE, range);
	}
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, h);
	return h;
}

static bool may_work_again(CURLcode e)
{
	static const CURLcode codes[] = { CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_PARTIAL_FILE, CURLE_GOT_NOTHING,
					  CURLE_OPERATION_TIMEDOUT, CURLE_HTTP2, CURLE_HTTP2_STREAM, CURLE_SSL_CONNECT_ERROR,
					  CURLE_SEND_FAIL_REWIND };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (e == codes[i])
			return true;
	return false;
}

static bool worth_again(long status) { return status == 429 || (status >= 500 && status != 501 && status != 505); }

bool http_worth_again(CURLcode code, long status)
{
	return may_work_again(code) || code == CURLE_COULDNT_CONNECT || (code == CURLE_HTTP_RETURNED_ERROR && worth_again(status));
}

int http_do(CURL *c, const struct tls *tls, struct request *q, struct answer *a, struct hoy_err *err)
{
	struct transfer t = { .c = c, .q = q, .a = a };
	char text[CURL_ERROR_SIZE] = "";
	struct curl_slist *h;
	curl_off_t wait = 0;
	CURLcode e;

	answer_reset(a, q->receive ? ERROR_BODY : q->max);
	h = prepare(&t);
	http_trust(c, tls);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, text);
	e = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a->status);
	curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &wait);
	a->retry_after = wait;
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(h);
	if (e == CURLE_OK) {
		/* A body without a length that ends early looks like a whole one. */
		if (q->receive && a->status / 100 == 2 && q->expect >= 0 && q->got < q->expect) {
			a->again = true;
			return hoy_fail(err, HOY_EREMOTE, "the connection ended after %lld of %lld bytes", (long long)q->got,
					(long long)q->expect);
		}
		a->again = worth_again(a->status);
		return 0;
	}
	if (t.stopped || transfer_cancelled)
		return hoy_fail(err, ECANCELED, "stopped");
	if (t.too_large)
		return hoy_fail(err, EFBIG, "the answer has more than %zu bytes", q->receive ? ERROR_BODY : q->max);
	if (t.wrong_range) {
		a->again = q->whole = true;
		return hoy_fail(err, HOY_EREMOTE, "it sent another part of the blob than it was asked for");
	}
	/* An upload's early refusal is worth more than the broken pipe behind it. */
	if (q->send && a->status >= 400) {
		a->again = worth_again(a->status);
		return 0;
	}
	a->again = may_work_again(e);
	return hoy_fail(err, e == CURLE_COULDNT_CONNECT ? ECONNREFUSED : e == CURLE_SSL_CONNECT_ERROR ? EPROTO : e == CURLE_PEER_FAILED_VERIFICATION ? EKEYREJECTED : HOY_EREMOTE, "%s",
			*text ? text : curl_easy_strerror(e));
}
