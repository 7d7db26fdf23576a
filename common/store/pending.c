#include "common/store/pending.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/store/images.h"

#define DIR_NAME "hoy/pending"

int hoy_pending_begin(struct hoy_store *s, const char *id, const char *layer, bool removed, struct hoy_err *err)
{
	cleanup_fd int dir = hoy_open_dir_p(s->graphfd, DIR_NAME, 0700), fd = -1;
	char name[sizeof(s->pending)];

	snprintf(name, sizeof(name), "%s%s%s%s", removed ? "gone-" : "new-", id, layer ? "." : "", layer ? layer : "");
	fd = dir < 0 ? dir : openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return hoy_fail_errno(err, dir < 0 ? -dir : errno, "cannot make '%s/" DIR_NAME "/%s'", s->conf.graphroot, name);
	strcpy(s->pending, name);
	return 0;
}

static void forget(struct hoy_store *s, const char *name)
{
	char path[sizeof(DIR_NAME) + NAME_MAX + 2];

	snprintf(path, sizeof(path), DIR_NAME "/%s", name);
	unlinkat(s->graphfd, path, 0);
	unlinkat(s->graphfd, DIR_NAME, AT_REMOVEDIR); /* so that one look tells that there is nothing */
}

void hoy_pending_next(struct hoy_store *s, const char *layer, char old[HOY_PENDING_SIZE])
{
	char id[HOY_ID_SIZE];

	old[0] = '\0';
	if (strncmp(s->pending, "gone-", 5) || !hoy_is_id(layer))
		return;
	snprintf(id, sizeof(id), "%.64s", s->pending + 5);
	strcpy(old, s->pending);
	/* No room for it on a full disk: on we go. */
	if (hoy_pending_begin(s, id, layer, true, NULL) < 0)
		old[0] = '\0';
}

void hoy_pending_passed(struct hoy_store *s, const char *old)
{
	if (*old)
		forget(s, old);
}

void hoy_pending_end(struct hoy_store *s)
{
	if (s->pending[0])
		forget(s, s->pending);
	s->pending[0] = '\0';
}

/* ID and the layer in NAME, which ends them; false if there is something else. */
static bool split(char *name, char **ret_id, char **ret_layer)
{
	char *id = !strncmp(name, "new-", 4) ? name + 4 : !strncmp(name, "gone-", 5) ? name + 5 : NULL, *dot;

	if (!id)
		return false;
	dot = strchr(id, '.');
	if (dot)
		*dot++ = '\0';
	*ret_id = id;
	*ret_layer = dot;
	return hoy_is_id(id) && (!dot || hoy_is_id(dot));
}

static int finish_one(struct hoy_store *s, const char *note)
{
	char name[HOY_PENDING_SIZE], *id, *layer;
	const struct hoy_json *rec;
	int r;

	strcpy(name, note);
	strcpy(s->pending, note);
	if (!split(name, &id, &layer))
		return 0;
	/* An additional store's is another one, of the same id. */
	rec = hoy_image_get(s, id);
	if (rec && !hoy_image_place(s, rec)->rdonly)
		return 0;
	r = hoy_remove_tree(s->own.imagesfd, id);
	if (!r && s->dest != &s->own)
		r = hoy_remove_tree(s->dest->imagesfd, id);
	return r || !layer ? r : hoy_image_delete_layers(s, layer, NULL, NULL);
}

void hoy_pending_finish(struct hoy_store *s)
{
	int fd = openat(s->graphfd, DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool held = s->ctrs_lock.held;
	struct dirent *e;

	/* A layer may be a container's: their records count too. */
	if (!d || hoy_store_also_containers(s) < 0)
		return;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= HOY_PENDING_SIZE)
			continue;
		if (!finish_one(s, e->d_name))
			hoy_pending_end(s);
		s->pending[0] = '\0';
	}
	if (!held)
		hoy_lock_drop(&s->ctrs_lock);
}
