#include "common/proc/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"

int hoy_idmap_add(struct hoy_idmap *m, uint32_t inside, uint32_t outside, uint32_t size)
{
	if (m->n == HOY_IDMAP_MAX)
		return -E2BIG;
	if ((uint64_t)inside + size > 1ULL << 32 || (uint64_t)outside + size > 1ULL << 32)
		return -ERANGE;
	m->v[m->n++] = (struct hoy_idline){ inside, outside, size };
	return 0;
}

int hoy_idmap_parse(struct hoy_idmap *m, const char *text)
{
	uint32_t n[3];

	for (int i = 0; i < 3; i++) {
		unsigned long long v;
		char *end;

		errno = 0;
		v = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : ULLONG_MAX;
		if (v > UINT32_MAX || errno || *end != (i < 2 ? ':' : '\0'))
			return -EINVAL;
		n[i] = (uint32_t)v;
		text = end + 1;
	}
	return hoy_idmap_add(m, n[0], n[1], n[2]);
}

static int by_inside(const void *a, const void *b)
{
	const struct hoy_idline *x = a, *y = b;

	return (x->inside > y->inside) - (x->inside < y->inside);
}

void hoy_idmap_tidy(struct hoy_idmap *m)
{
	size_t n = 0;

	qsort(m->v, m->n, sizeof(*m->v), by_inside);
	for (size_t i = 0; i < m->n; i++) {
		struct hoy_idline *last = n ? &m->v[n - 1] : NULL;

		if (last && last->inside + last->size == m->v[i].inside && last->outside + last->size == m->v[i].outside)
			last->size += m->v[i].size;
		else
			m->v[n++] = m->v[i];
	}
	m->n = n;
}

bool hoy_idmap_same(const struct hoy_idmap *a, const struct hoy_idmap *b)
{
	return a->n == b->n && !memcmp(a->v, b->v, a->n * sizeof(*a->v));
}

static bool overlap(uint32_t a, uint32_t an, uint32_t b, uint32_t bn)
{
	return (uint64_t)a + an > b && (uint64_t)b + bn > a;
}

long hoy_idmap_clash(const struct hoy_idmap *m)
{
	for (size_t i = 1; i < m->n; i++)
		for (size_t k = 0; k < i; k++)
			if (overlap(m->v[i].inside, m->v[i].size, m->v[k].inside, m->v[k].size) ||
			    overlap(m->v[i].outside, m->v[i].size, m->v[k].outside, m->v[k].size))
				return (long)i;
	return -1;
}

bool hoy_idmap_out(const struct hoy_idmap *m, uint32_t id, uint32_t *ret)
{
	for (size_t i = 0; i < m->n; i++)
		if (id >= m->v[i].inside && id - m->v[i].inside < m->v[i].size) {
			*ret = id - m->v[i].inside + m->v[i].outside;
			return true;
		}
	return false;
}

bool hoy_idmap_in(const struct hoy_idmap *m, uint32_t id, uint32_t *ret)
{
	for (size_t i = 0; i < m->n; i++)
		if (id >= m->v[i].outside && id - m->v[i].outside < m->v[i].size) {
			*ret = id - m->v[i].outside + m->v[i].inside;
			return true;
		}
	return false;
}

int hoy_idmap_pair(const struct hoy_spans *wanted, const struct hoy_spans *unused, struct hoy_idmap *m)
{
	uint64_t at = unused->n ? unused->v[0].start : 0;
	size_t u = 0;
	int r = 0;

	for (size_t i = 0; i < wanted->n; i++)
		for (uint64_t in = wanted->v[i].start; in < wanted->v[i].end && !r;) {
			uint64_t left, n = wanted->v[i].end - in;

			while (u < unused->n && at >= unused->v[u].end)
				at = ++u < unused->n ? unused->v[u].start : 0;
			if (u == unused->n)
				return -ERANGE;
			left = unused->v[u].end - at;
			n = n < left ? n : left;
			r = hoy_idmap_add(m, (uint32_t)in, (uint32_t)at, (uint32_t)n);
			in += n;
			at += n;
		}
	return r;
}

static bool id(const struct hoy_json *line, const char *key, uint32_t *ret)
{
	int64_t v = hoy_json_int(line, key, -1);

	*ret = (uint32_t)v;
	return v >= 0 && v <= UINT32_MAX;
}

static int read_map(const struct hoy_json *list, struct hoy_idmap *m)
{
	m->n = 0;
	HOY_JSON_EACH(it, list) {
		struct hoy_idline l;

		if (!id(it, "container_id", &l.inside) || !id(it, "host_id", &l.outside) || !id(it, "size", &l.size) ||
		    hoy_idmap_add(m, l.inside, l.outside, l.size) < 0)
			return -HOY_EFORMAT;
	}
	return 0;
}

int hoy_idmaps_read(const struct hoy_json *rec, struct hoy_idmaps *ret)
{
	int r = read_map(hoy_json_get(rec, "uidmap"), &ret->uid);

	return r ? r : read_map(hoy_json_get(rec, "gidmap"), &ret->gid);
}

static int put_map(struct hoy_json_doc *d, struct hoy_json *rec, const char *key, const struct hoy_idmap *m)
{
	struct hoy_json *list, *line;

	hoy_json_unset(rec, key);
	list = m->n ? hoy_json_need(d, rec, key, HOY_JSON_ARRAY) : NULL;
	for (size_t i = 0; i < m->n; i++) {
		line = list ? hoy_json_put(d, list, NULL, hoy_json_new(d, HOY_JSON_OBJECT)) : NULL;
		if (!line || !hoy_json_set_int(d, line, "container_id", m->v[i].inside) ||
		    !hoy_json_set_int(d, line, "host_id", m->v[i].outside) || !hoy_json_set_int(d, line, "size", m->v[i].size))
			return -ENOMEM;
	}
	return 0;
}

int hoy_idmaps_put(struct hoy_json_doc *d, struct hoy_json *rec, const struct hoy_idmaps *m)
{
	int r = put_map(d, rec, "uidmap", &m->uid);

	return r ? r : put_map(d, rec, "gidmap", &m->gid);
}

int hoy_idmap_own(const char *file, struct hoy_idmap *ret) { return hoy_idmap_of(0, file, ret); }

int hoy_idmap_of(pid_t pid, const char *file, struct hoy_idmap *ret)
{
	char path[48];
	cleanup_file FILE *f = NULL;
	struct hoy_idline l;
	int r = 0;

	ret->n = 0;
	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	else
		snprintf(path, sizeof(path), "/proc/self/%s", file);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!r && fscanf(f, "%u %u %u", &l.inside, &l.outside, &l.size) == 3)
		r = hoy_idmap_add(ret, l.inside, l.outside, l.size);
	return r;
}

int hoy_idmap_split(struct hoy_idmap *m, const struct hoy_idmap *parent)
{
	struct hoy_idmap out = { .n = 0 };
	int r = 0;

	for (size_t i = 0; i < m->n; i++)
		for (struct hoy_idline l = m->v[i]; l.size && !r;) {
			uint32_t n = l.size;

			for (size_t k = 0; k < parent->n; k++) {
				const struct hoy_idline *p = &parent->v[k];

				if (l.outside >= p->inside && l.outside - p->inside < p->size && p->size - (l.outside - p->inside) < n)
					n = p->size - (l.outside - p->inside);
			}
			r = hoy_idmap_add(&out, l.inside, l.outside, n);
			l.inside += n;
			l.outside += n;
			l.size -= n;
		}
	if (!r)
		*m = out;
	return r;
}

void hoy_idmap_text(const struct hoy_idmap *m, struct hoy_buf *b)
{
	for (size_t i = 0; i < m->n; i++)
		hoy_buf_printf(b, "%u %u %u\n", m->v[i].inside, m->v[i].outside, m->v[i].size);
}

static int write_map(pid_t pid, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return hoy_write_small(AT_FDCWD, path, text);
}

int hoy_idmap_userns(const char *uids, const char *gids, struct hoy_err *err)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	char path[64];
	int ns = -1, r;

	if (pid < 0)
		return hoy_fail_errno(err, errno, "cannot make a user namespace for a mapped mount");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		syscall(SYS_close_range, 0U, ~0U, 0); /* no lock of ours lasts by it */
		for (;;)
			pause();
	}
	r = write_map(pid, "uid_map", uids);
	if (!r)
		r = write_map(pid, "gid_map", gids);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	if (!r && (ns = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		r = -errno;
	kill(pid, SIGKILL); /* our child, not waited for: nobody else can have its pid */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write the mapping of a mount") : ns;
}
