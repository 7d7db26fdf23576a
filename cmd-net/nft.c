/*
 * cmd-net/nft.c: the table through libnftables. It is read as text: that is the one form in which libnftables gives and
 * takes rules, so a rule of ours and netavark's same rule are the same line.
 */
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-net/net.h"
#include "common/base/err.h"

static int run(struct nft *t, const char *script, struct hoy_err *err)
{
	const char *why;

	if (nft_run_cmd_from_buffer(t->ctx, script) == 0)
		return 0;
	why = nft_ctx_get_error_buffer(t->ctx);
	why = why ? strstr(why, "rror: ") : NULL;
	why = why ? why + 6 : "unknown error";
	return hoy_fail(err, strncmp(why, "No such file", 12) ? EIO : ENOENT, "nftables: %.*s", (int)strcspn(why, "\n"), why);
}

static int by_chain_and_text(const void *x, const void *y)
{
	const struct nft_rule *a = x, *b = y;
	int r = strcmp(a->chain, b->chain);

	return r ? r : strcmp(a->text, b->text);
}

static size_t lines(const char *s)
{
	size_t n = 1;

	while ((s = strchr(s, '\n'))) {
		s++;
		n++;
	}
	return n;
}

/* "TEXT # handle N": cut there. */
static bool take_handle(char *line, uint64_t *handle)
{
	char *h = NULL;

	for (char *p = line; (p = strstr(p, " # handle ")); p++)
		h = p;
	if (!h)
		return false;
	*h = '\0';
	*handle = strtoull(h + 10, NULL, 10);
	return true;
}

/* Lines of a chain are "chain NAME { # handle N", its type, its rules, "}". */
static void parse(struct nft *t)
{
	const char *chain = NULL;
	char *save = NULL;

	for (char *l = strtok_r(t->listing, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		uint64_t handle;

		l += strspn(l, "\t ");
		if (!strncmp(l, "chain ", 6)) {
			l[6 + strcspn(l + 6, " ")] = '\0';
			chain = t->chains[t->n_chains++] = l + 6;
		} else if (*l == '}') {
			chain = NULL;
		} else if (chain && strncmp(l, "type ", 5) && take_handle(l, &handle)) {
			t->rules[t->n_rules++] = (struct nft_rule){ chain, l, handle };
		}
	}
	qsort(t->rules, t->n_rules, sizeof(*t->rules), by_chain_and_text);
}

int nft_read(struct nft *t, struct hoy_err *err)
{
	size_t n;
	int r;

	memset(t, 0, sizeof(*t));
	t->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!t->ctx || nft_ctx_buffer_output(t->ctx) || nft_ctx_buffer_error(t->ctx))
		return hoy_fail_oom(err);
	nft_ctx_output_set_flags(t->ctx, NFT_CTX_OUTPUT_HANDLE);
	r = run(t, "list table inet netavark", err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	t->listing = strdup(nft_ctx_get_output_buffer(t->ctx));
	n = t->listing ? lines(t->listing) : 0;
	t->rules = n ? calloc(n, sizeof(*t->rules)) : NULL;
	t->chains = n ? calloc(n, sizeof(*t->chains)) : NULL;
	if (!t->rules || !t->chains)
		return hoy_fail_oom(err);
	parse(t);
	return 0;
}

int nft_apply(struct nft *t, const struct hoy_buf *script, struct hoy_err *err)
{
	if (script->error)
		return hoy_fail_oom(err);
	return script->len ? run(t, hoy_buf_str(script), err) : 0;
}

void nft_close(struct nft *t)
{
	if (t->ctx)
		nft_ctx_free(t->ctx);
	free(t->listing);
	free(t->rules);
	free(t->chains);
	memset(t, 0, sizeof(*t));
}

bool nft_has_chain(const struct nft *t, const char *chain)
{
	for (size_t i = 0; i < t->n_chains; i++)
		if (!strcmp(t->chains[i], chain))
			return true;
	return false;
}

const struct nft_rule *nft_find(const struct nft *t, const char *chain, const char *text, bool exact)
{
	struct nft_rule key = { chain, text, 0 };
	size_t lo = 0, hi = t->n_rules;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (by_chain_and_text(&t->rules[mid], &key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == t->n_rules || strcmp(t->rules[lo].chain, chain))
		return NULL;
	if (exact ? strcmp(t->rules[lo].text, text) : strncmp(t->rules[lo].text, text, strlen(text)))
		return NULL;
	return &t->rules[lo];
}
