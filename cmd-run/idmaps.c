/* cmd-run/idmaps.c: --uidmap, --gidmap and their like in --userns=auto: [FLAGS]INSIDE:[@]OUTSIDE[:SIZE]. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-run/options.h"
#include "common/conf/dirs.h"

struct line {
	bool extends, user, group, parent; /* + u g @ */
	struct hoy_idline l;
};

/* The words of a map as Go prints them: ["a" "b"]. */
static char *quoted(const struct hoy_strv *list)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 16);

	hoy_buf_putc(&b, '[');
	for (size_t i = 0; i < list->n; i++)
		hoy_buf_printf(&b, "%s\"%s\"", i ? " " : "", list->v[i]);
	hoy_buf_putc(&b, ']');
	return hoy_buf_steal(&b);
}

int parse_uint32(const char *text, uint32_t *ret, struct hoy_err *err)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : 0;
	if (!isdigit((unsigned char)*text) || *end)
		return hoy_fail(err, EINVAL, "strconv.ParseUint: parsing \"%s\": invalid syntax", text);
	if (errno || v > UINT32_MAX)
		return hoy_fail(err, ERANGE, "strconv.ParseUint: parsing \"%s\": value out of range", text);
	*ret = (uint32_t)v;
	return 0;
}

static int number(const char *word, const char *text, uint32_t *ret, struct hoy_err *err)
{
	return parse_uint32(text, ret, err) < 0 ? hoy_fail_prefix(err, "parsing id map value \"%s\"", word) : 0;
}

static int flags(char **w, struct line *ret, const char **digits, struct hoy_err *err)
{
	const char *p = w[0];

	for (; *p && !isdigit((unsigned char)*p); p++)
		if (*p == '+')
			ret->extends = true;
		else if (*p == 'u')
			ret->user = true;
		else if (*p == 'g')
			ret->group = true;
		else
			return hoy_fail(err, EINVAL, "invalid mapping: [%s %s %s]. Unknown flag %d", w[0], w[1], w[2], *p);
	if (!*p)
		return hoy_fail(err, EINVAL, "invalid mapping: [%s %s %s], parsing flags", w[0], w[1], w[2]);
	if (!ret->user && !ret->group)
		ret->user = ret->group = true;
	*digits = p;
	return 0;
}

/* Three words. AUTO has no flags. */
static int parse_line(char **w, const char *kind, bool is_auto, struct line *ret, struct hoy_err *err)
{
	const char *digits = w[0];
	int r;

	*ret = (struct line){ .user = is_auto, .group = is_auto };
	if (!*w[0])
		return hoy_fail(err, EINVAL, "invalid empty container id at %s map: [%s %s %s]", kind, w[0], w[1], w[2]);
	r = is_auto ? 0 : flags(w, ret, &digits, err);
	if (!r)
		r = number(w[0], digits, &ret->l.inside, err);
	if (!r && !*w[1])
		return hoy_fail(err, EINVAL, "invalid empty host id at %s map: [%s %s %s]", kind, w[0], w[1], w[2]);
	ret->parent = *w[1] == '@';
	if (!r)
		r = number(w[1], w[1] + ret->parent, &ret->l.outside, err);
	return r ? r : number(w[2], w[2], &ret->l.size, err);
}

/* "@": ids of the host, as they are called in the namespace that we are in. Appended to RET, piece by piece. */
static int from_parent(const struct hoy_idmap *own, struct hoy_idline l, const char *kind, struct hoy_idmap *ret, struct hoy_err *err)
{
	while (l.size) {
		uint32_t here, n = 0;

		for (size_t i = 0; i < own->n && !n; i++) {
			const struct hoy_idline *o = &own->v[i];

			if (l.outside < o->outside || l.outside - o->outside >= o->size)
				continue;
			here = l.outside - o->outside + o->inside;
			n = o->size - (l.outside - o->outside);
		}
		if (!n)
			return hoy_fail(err, EINVAL, "parent ID %s %u is not mapped/delegated", kind, l.outside);
		n = n < l.size ? n : l.size;
		if (hoy_idmap_add(ret, l.inside, here, n) < 0)
			return hoy_fail(err, E2BIG, "too many %s mappings", kind);
		l.inside += n;
		l.outside += n;
		l.size -= n;
	}
	return 0;
}

/* What of FROM is neither among the COUNT ids from INSIDE on, nor outside among those from OUTSIDE on. */
static int cut(const struct hoy_idmap *from, const struct hoy_idline *x, struct hoy_idmap *ret)
{
	int r = 0;

	for (size_t i = 0; i < from->n && !r; i++) {
		const struct hoy_idline *l = &from->v[i];
		/* Both in terms of the ids inside. */
		int64_t shift = (int64_t)l->inside - l->outside, also = x->outside + shift;
		cleanup_spans struct hoy_spans left = { NULL, 0, 0 };

		r = hoy_spans_add(&left, l->inside, l->size);
		if (!r)
			r = hoy_spans_subtract(&left, x->inside, x->size);
		if (!r && also + (int64_t)x->size > 0)
			r = hoy_spans_subtract(&left, also < 0 ? 0 : (uint64_t)also, also < 0 ? (uint64_t)(x->size + also) : x->size);
		for (size_t k = 0; k < left.n && !r; k++)
			r = hoy_idmap_add(ret, (uint32_t)left.v[k].start, (uint32_t)((int64_t)left.v[k].start - shift),
					  (uint32_t)(left.v[k].end - left.v[k].start));
	}
	return r;
}

static int extend(struct hoy_idmap *m, const struct hoy_idline *x)
{
	struct hoy_idmap left = { .n = 0 };
	int r = cut(m, x, &left);

	if (!r)
		r = hoy_idmap_add(&left, x->inside, x->outside, x->size);
	*m = left;
	return r;
}

/* An ordinary user's remaining ids take the places that M leaves, from 0 on. */
static int fill(struct hoy_idmap *m, const struct hoy_idmap *own)
{
	cleanup_spans struct hoy_spans wanted = { NULL, 0, 0 }, unused = { NULL, 0, 0 };
	int r = hoy_spans_add(&wanted, 0, UINT32_MAX);

	for (size_t i = 0; i < own->n && !r; i++)
		r = hoy_spans_add(&unused, own->v[i].inside, own->v[i].size);
	for (size_t i = 0; i < m->n && !r; i++) {
		r = hoy_spans_subtract(&wanted, m->v[i].inside, m->v[i].size);
		if (!r)
			r = hoy_spans_subtract(&unused, m->v[i].outside, m->v[i].size);
	}
	if (!r)
		r = hoy_idmap_pair(&wanted, &unused, m);
	hoy_idmap_tidy(m);
	return r == -ERANGE ? 0 : r;
}

static int malformed(const char *kind, const char *grammar, const char *text, struct hoy_err *err)
{
	return hoy_fail(err, EINVAL, "initializing ID mappings: %s setting is malformed expected [\"%s\"] : %s", kind, grammar, text);
}

static int add_line(struct hoy_idmap *m, const struct line *l, const char *kind, const struct hoy_idmap *own, bool *rest, struct hoy_err *err)
{
	struct hoy_idmap pieces = { .n = 0 };
	int r = 0;

	if (!(*kind == 'U' ? l->user : l->group) || !l->l.size)
		return 0;
	r = l->parent ? from_parent(own, l->l, kind, &pieces, err) : hoy_idmap_add(&pieces, l->l.inside, l->l.outside, l->l.size);
	if (r < 0)
		return r;
	if (l->extends && !m->n && hoy_rootless())
		*rest = true;
	for (size_t i = 0; i < pieces.n && !r; i++)
		r = l->extends ? extend(m, &pieces.v[i]) : hoy_idmap_add(m, pieces.v[i].inside, pieces.v[i].outside, pieces.v[i].size);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot note the %s mappings", kind) : 0;
}

/* All texts of one option, KIND "UID" or "GID", in terms of our own namespace's ids OWN. */
static int parse_list(const struct hoy_strv *list, const char *kind, const struct hoy_idmap *own, struct hoy_idmap *ret, struct hoy_err *err)
{
	bool rest = false;
	int r = 0;

	for (size_t i = 0; i < list->n && !r; i++) {
		cleanup_strv struct hoy_strv w = HOY_STRV_INIT;
		cleanup_free char *all = quoted(list);
		struct line l;

		hoy_strv_split(&w, list->v[i], ':');
		if (w.n == 2)
			hoy_strv_push(&w, "1");
		if (w.error || !all)
			return hoy_fail_oom(err);
		if (w.n % 3)
			return malformed(kind, "[+ug]uint32:[@]uint32[:uint32]", all, err);
		for (size_t k = 0; k < w.n && !r; k += 3) {
			r = *w.v[k] ? parse_line(w.v + k, kind, false, &l, err) : malformed(kind, "[+ug]uint32:[@]uint32[:uint32]", all, err);
			if (!r)
				r = add_line(ret, &l, kind, own, &rest, err);
		}
	}
	if (!r && rest && (r = fill(ret, own)) < 0)
		return hoy_fail_errno(err, -r, "cannot fill the %s mappings", kind);
	hoy_idmap_tidy(ret);
	return r;
}

static int own_maps(struct hoy_idmaps *own, struct hoy_err *err)
{
	int r = hoy_idmap_own("uid_map", &own->uid);

	if (!r)
		r = hoy_idmap_own("gid_map", &own->gid);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot read the ids of our own user namespace") : 0;
}

int parse_idmaps(const struct hoy_strv *uids, const struct hoy_strv *gids, struct hoy_idmaps *ret, struct hoy_err *err)
{
	struct hoy_idmaps own, m = { 0 };
	int r = own_maps(&own, err);

	if (!r)
		r = parse_list(uids->n ? uids : gids, "UID", &own.uid, &m.uid, err);
	if (!r)
		r = parse_list(gids->n ? gids : uids, "GID", &own.gid, &m.gid, err);
	if (!r && hoy_rootless() && !m.uid.n != !m.gid.n && (r = m.uid.n ? fill(&m.gid, &own.gid) : fill(&m.uid, &own.uid)) < 0)
		return hoy_fail_errno(err, -r, "cannot fill the mappings");
	for (size_t i = 0; i < m.uid.n && !r; i++)
		r = hoy_idmap_add(&ret->uid, m.uid.v[i].inside, m.uid.v[i].outside, m.uid.v[i].size);
	for (size_t i = 0; i < m.gid.n && !r; i++)
		r = hoy_idmap_add(&ret->gid, m.gid.v[i].inside, m.gid.v[i].outside, m.gid.v[i].size);
	return r == -E2BIG ? hoy_fail(err, E2BIG, "too many ID mappings") : r;
}

int parse_auto_map(const char *text, const char *kind, struct hoy_idmap *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv w = HOY_STRV_INIT;
	cleanup_free char *all = hoy_asprintf("\"%s\"", text);
	struct hoy_idmaps own;
	struct line l;
	bool rest;
	int r;

	hoy_strv_split(&w, text, ':');
	if (w.n == 2)
		hoy_strv_push(&w, "1");
	if (w.error || !all)
		return hoy_fail_oom(err);
	if (w.n != 3)
		return malformed(kind, "uint32:[@]uint32[:uint32]", all, err);
	r = parse_line(w.v, kind, true, &l, err);
	if (!r)
		r = own_maps(&own, err);
	return r ? r : add_line(ret, &l, kind, *kind == 'U' ? &own.uid : &own.gid, &rest, err);
}
