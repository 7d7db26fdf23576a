#include "cmd-image/transfer/challenge.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"

void challenge_release(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	*c = (struct challenge){ AUTH_NONE, NULL, NULL };
}

static size_t token_len(const char *p)
{
	return strspn(p, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}

static const char *blanks(const char *p) { return p + strspn(p, " \t"); }

/* The value at P, quoted or not, in new memory; *RET_END is behind it. */
static char *value(const char *p, const char **ret_end)
{
	struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);

	if (*p != '"') {
		size_t n = strcspn(p, " \t,");

		*ret_end = p + n;
		return strndup(p, n);
	}
	hoy_buf_puts(&b, "");
	for (p++; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		hoy_buf_putc(&b, *p);
	}
	*ret_end = *p ? p + 1 : p;
	return hoy_buf_steal(&b);
}

static bool is(const char *p, size_t n, const char *name) { return strlen(name) == n && !strncasecmp(p, name, n); }

/* C takes the challenge X over, if it is the better one. */
static void settle(struct challenge *c, struct challenge *x)
{
	if (x->kind == AUTH_BEARER && !x->realm)
		x->kind = AUTH_NONE;
	if (x->kind > c->kind) {
		challenge_release(c);
		*c = *x;
		*x = (struct challenge){ AUTH_NONE, NULL, NULL };
	}
	challenge_release(x);
}

void challenge_add(struct challenge *c, const char *p)
{
	struct challenge x = { AUTH_NONE, NULL, NULL };

	while (*(p += strspn(p, " \t,"))) {
		size_t n = token_len(p);
		const char *behind = blanks(p + n);

		if (!n) {
			p++; /* nothing that belongs here */
		} else if (*behind == '=') {
			cleanup_free char *v = value(blanks(behind + 1), &behind);

			if (is(p, n, "realm") && !x.realm)
				x.realm = steal_ptr(&v);
			else if (is(p, n, "service") && !x.service)
				x.service = steal_ptr(&v);
			p = behind;
		} else {
			settle(c, &x);
			x.kind = is(p, n, "bearer") ? AUTH_BEARER : is(p, n, "basic") ? AUTH_BASIC : AUTH_NONE;
			p += n;
		}
	}
	settle(c, &x);
}
