/* common/store/autoids.c: ids for a user namespace that nobody else has (--userns=auto). */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/spans.h"
#include "common/conf/dirs.h"
#include "common/conf/subid.h"
#include "common/store/layers.h"
#include "common/store/shift.h"

#define NOBODY 65534
#define MAX_RANGES 64

/* ---- what there is ---- */

static int available(const struct hoy_store *s, const char *file, struct hoy_spans *ret, struct hoy_err *err)
{
	const char *user = s->conf.auto_user ?: "containers";
	struct hoy_idrange r[MAX_RANGES];
	size_t n = s->rootless ? hoy_subids(file, hoy_rootless_uid(), r, MAX_RANGES) : hoy_subids_of(file, user, r, MAX_RANGES);
	uint64_t all = 0;

	if (!n && s->rootless)
		return hoy_fail(err, ENOENT, "no ranges found for user %u in %s: not enough unused IDs in user namespace",
				(unsigned)hoy_rootless_uid(), file);
	if (!n)
		return hoy_fail(err, ENOENT, "no ranges found for user \"%s\" in %s: not enough unused IDs in user namespace", user, file);
	for (size_t i = 0; i < n; i++) {
		all += r[i].count;
		if (!s->rootless && hoy_spans_add(ret, r[i].start, r[i].count) < 0)
			return hoy_fail_oom(err);
	}
	/* In the user's own namespace they follow the user, from 1 on. */
	return s->rootless && hoy_spans_add(ret, 1, all) < 0 ? hoy_fail_oom(err) : 0;
}

static int without(struct hoy_spans *s, const struct hoy_idmap *used, bool inside)
{
	int r = 0;

	for (size_t i = 0; i < used->n && !r; i++)
		r = hoy_spans_subtract(s, inside ? used->v[i].inside : used->v[i].outside, used->v[i].size);
	return r;
}

/* ---- how many are needed ---- */

static void most(const struct hoy_json *list, uint32_t *size)
{
	HOY_JSON_EACH(it, list) {
		int64_t v;

		if (hoy_json_int64(it, &v) && v >= *size && v < UINT32_MAX)
			*size = (uint32_t)v + 1;
	}
}

/* The ids that a line of /etc/passwd names; nobody's would make every image as large as can be. */
static void most_of_line(char *line, uint32_t *size)
{
	char *f[4] = { NULL };

	for (int i = 0; i < 4 && line; i++)
		f[i] = strsep(&line, ":");
	if (!f[3] || !strcmp(f[0], "nobody") || !strcmp(f[0], "nogroup"))
		return;
	for (int i = 2; i < 4; i++) {
		char *end;
		unsigned long v = strtoul(f[i], &end, 10);

		if (isdigit((unsigned char)*f[i]) && !*end && v > *size && v != NOBODY && v < UINT32_MAX)
			*size = (uint32_t)v + 1;
	}
}

/* /etc/passwd as the uppermost layer that has one shows it. 1: it has, or has removed it; 0: look below. */
static int passwd_of(const struct hoy_store *s, const char *id, uint32_t *size)
{
	cleanup_fd int diff = hoy_layer_open_diff(s, id);
	cleanup_fd int fd = diff < 0 ? diff : hoy_open_beneath(diff, "etc/passwd", O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, HOY_IN_ROOT);
	cleanup_free char *text = NULL;
	struct stat st;
	char *rest, *line;

	if (fd < 0)
		return fd != -ENOENT;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || hoy_read_fd(fd, "passwd", 16 << 20, &text, NULL, NULL) < 0)
		return 1;
	rest = text;
	while ((line = strsep(&rest, "\n")))
		most_of_line(line, size);
	return 1;
}

static uint32_t size_of_image(const struct hoy_store *s, const struct hoy_json *image)
{
	const char *id = hoy_json_str(image, "layer");
	bool passwd = false;
	uint32_t size = 0;

	for (unsigned n = 0; id && *id && n < 1000; n++) {
		const struct hoy_json *rec = hoy_layer_get(s, id);

		most(hoy_json_get(rec, "uidset"), &size);
		most(hoy_json_get(rec, "gidset"), &size);
		passwd = passwd || passwd_of(s, id, &size);
		id = hoy_json_str(rec, "parent");
	}
	return size;
}

static int choose_size(const struct hoy_store *s, const struct hoy_json *image, const struct hoy_auto_ids *want, uint32_t *ret, struct hoy_err *err)
{
	uint32_t of_image = want->size ? 0 : size_of_image(s, image), size = want->size ?: want->least ?: 1;

	if (!want->size && s->conf.auto_min > size)
		size = s->conf.auto_min;
	if (of_image > size)
		size = of_image;
	if (!want->size && size > s->conf.auto_max)
		return hoy_fail(err, E2BIG, "the container needs a user namespace with size %u that is bigger than the maximum value allowed with "
				"userns=auto %u", size, s->conf.auto_max);
	*ret = size;
	return 0;
}

/* ---- together ---- */

/* One of the two maps. */
static int make_map(const struct hoy_store *s, bool gid, uint32_t size, const struct hoy_idmap *extra, struct hoy_idmap *ret, struct hoy_err *err)
{
	cleanup_spans struct hoy_spans unused = { NULL, 0, 0 }, wanted = { NULL, 0, 0 };
	int r = available(s, gid ? "/etc/subgid" : "/etc/subuid", &unused, err), n = 0;

	for (struct hoy_json *c = r ? NULL : hoy_first(s->ctrs); c && !n; c = hoy_next(s->ctrs, c)) {
		struct hoy_idmaps have = { 0 };

		if (!hoy_idmaps_read(c, &have))
			n = without(&unused, gid ? &have.gid : &have.uid, false);
	}
	if (!n)
		n = without(&unused, extra, false);
	if (!n)
		n = hoy_spans_add(&wanted, 0, size);
	if (!n)
		n = without(&wanted, extra, true);
	ret->n = 0;
	if (!r && !n)
		n = hoy_idmap_pair(&wanted, &unused, ret);
	for (size_t i = 0; i < extra->n && !r && !n; i++)
		n = hoy_idmap_add(ret, extra->v[i].inside, extra->v[i].outside, extra->v[i].size);
	if (!r && n == -ERANGE)
		return hoy_fail(err, ERANGE, "not enough unused IDs in user namespace");
	return r ? r : n < 0 ? hoy_fail_errno(err, -n, "cannot choose ids for a user namespace") : 0;
}

int hoy_auto_ids(const struct hoy_store *s, const struct hoy_json *image, const struct hoy_auto_ids *want, struct hoy_idmaps *ret,
		 struct hoy_err *err)
{
	uint32_t size = 0;
	int r = choose_size(s, image, want, &size, err);

	if (!r)
		r = make_map(s, false, size, &want->extra.uid, &ret->uid, err);
	return r ? r : make_map(s, true, size, &want->extra.gid, &ret->gid, err);
}
