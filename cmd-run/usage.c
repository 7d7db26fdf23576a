/* cmd-run/usage.c: what containers and volumes hold, in bytes, and who uses whom. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/base/tree.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/store/layers.h"

void usages_release(struct usages *u)
{
	for (size_t i = 0; i < u->n; i++) {
		free(u->v[i].name);
		ctr_release(&u->v[i].c);
	}
	free(u->v);
	*u = (struct usages){ 0 };
}

static struct usage *add(struct usages *u)
{
	struct usage *p = reallocarray(u->v, u->n + 1, sizeof(*p));

	if (!p)
		return NULL;
	u->v = p;
	p[u->n] = (struct usage){ .c = CTR_INIT };
	return &p[u->n++];
}

int64_t ctr_size(const struct ctr *c)
{
	const char *layer = hoy_json_str(c->def.root, "layer");

	return hoy_tree_size(AT_FDCWD, c->dir) + (layer ? hoy_layer_size(c->s, layer) : 0) + hoy_tree_size(c->s->ctrsfd, c->id);
}

static unsigned volumes_of(const struct ctr *c)
{
	unsigned n = 0;

	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts"))
		n += hoy_json_str(m, "name") != NULL;
	return n;
}

static int by_created(const void *x, const void *y)
{
	const struct usage *a = x, *b = y;

	return a->created != b->created ? (a->created < b->created ? -1 : 1) : strcmp(a->name ? a->name : a->c.id, b->name ? b->name : b->c.id);
}

int list_containers(struct hoy_store *s, bool with_size, struct usages *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;

	if (ctr_list(s, &ids) < 0)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < ids.n; i++) {
		struct usage *u = add(ret);
		int r;

		if (!u)
			return hoy_fail_oom(err);
		r = ctr_open_id(&u->c, s, ids.v[i], NULL);
		if (!r)
			r = ctr_load_live(&u->c, NULL);
		if (!r)
			r = ctr_load_def(&u->c, NULL);
		if (r < 0) {
			/* One that is being made or removed is not there yet, or no longer. */
			ret->unreadable += r != -ENOENT;
			ctr_release(&u->c);
			ret->n--;
			continue;
		}
		u->created = hoy_json_time(u->c.state.root, "created");
		u->links = volumes_of(&u->c);
		u->size = with_size ? ctr_size(&u->c) : 0;
	}
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_created);
	return 0;
}

static unsigned users_of(const struct usages *ctrs, const char *volume)
{
	unsigned n = 0;

	for (size_t i = 0; i < ctrs->n; i++)
		HOY_JSON_EACH(m, hoy_json_get(ctrs->v[i].c.def.root, "mounts"))
			if (!strcmp(hoy_json_str(m, "name") ?: "", volume)) {
				n++;
				break;
			}
	return n;
}

int list_volumes(struct hoy_store *s, const struct usages *ctrs, bool with_size, struct usages *ret, struct hoy_err *err)
{
	int fd = s->graphfd < 0 ? -1 : openat(s->graphfd, "hoy/volumes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		cleanup_json struct hoy_json_doc meta = HOY_JSON_DOC_INIT;
		cleanup_free char *file = hoy_path_join(e->d_name, "volume.json"), *data = hoy_path_join(e->d_name, "_data");
		struct usage *u;

		if (e->d_name[0] == '.' || !file || !data || hoy_json_load(&meta, dirfd(d), file, 1 << 16, NULL) < 0)
			continue;
		u = add(ret);
		if (!u || !(u->name = strdup(e->d_name)))
			return hoy_fail_oom(err);
		u->created = hoy_json_time(meta.root, "created");
		u->links = users_of(ctrs, u->name);
		u->size = with_size ? hoy_tree_size(dirfd(d), data) : 0;
	}
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_created);
	return 0;
}
