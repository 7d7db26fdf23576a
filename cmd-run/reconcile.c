/* cmd-run/reconcile.c: containers that somebody left half made, half removed or, with --rm, ended are taken away. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/data/digest.h"

static void end_process(const struct ctr *c)
{
	pid_t pid = ctr_pid(c);

	if (!pid)
		return;
	kill(pid, SIGKILL);
	for (int i = 0; i < 200 && ctr_pid(c); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

/* A container of ours without storage record: another engine deleted that, or its maker died before there was one. */
static void forget(struct hoy_store *s, const char *id)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int r;

	if (ctr_seize(&c, s, id) < 0)
		return; /* being made or removed right now */
	if (hoy_store_peek(s, HOY_CONTAINERS, NULL) < 0 || hoy_container_get(s, id))
		return;
	r = ctr_load_state(&c, NULL);
	if (!r && hoy_json_bool(c.state.root, "noRecord", false))
		return;
	/* Without a state, or with one that a power cut emptied. */
	if (r == -ENOENT || r == -HOY_EFORMAT) {
		r = ctr_drop_files(&c, &err);
	} else if (!r && !(r = ctr_load_live(&c, &err))) {
		end_process(&c);
		(void)ctr_cleanup(&c, &err);
		r = ctr_remove(&c, true, &err);
	}
	if (r < 0)
		hoy_warning("container %.12s, which has no record in the store: %s, ignoring", id, err.msg);
}

/*
 * A container of --rm whose end nobody is left to see to: neither it nor its monitor runs, and it was started once (or made
 * by `run`, which holds its lock until it is started; `create --rm` leaves one to be started). Who waits for it in the
 * foreground bears that somebody else was faster.
 */
static bool dead(const struct ctr *c)
{
	return hoy_json_bool(c->state.root, "rm", false) && !ctr_pid(c) && !ctr_monitor(c) &&
	       (c->live.root || hoy_json_bool(c->state.root, "once", false));
}

static void drop_dead(struct hoy_store *s, const char *id)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;

	if (ctr_seize(&c, s, id) < 0 || ctr_load_state(&c, NULL) < 0 || ctr_load_live(&c, NULL) < 0 || !dead(&c))
		return;
	if (ctr_clear(&c, true, &err) < 0)
		hoy_warning("container %.12s, which has ended and was to be removed: %s, ignoring", id, err.msg);
}

/* Only theirs are volatile, so that nobody else's files are looked at. */
static void drop_all_dead(struct hoy_store *s)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;

	if (hoy_store_peek(s, HOY_CONTAINERS, NULL) < 0)
		return;
	HOY_JSON_EACH(r, s->ctrs[1].doc.root)
		if (hoy_is_id(hoy_json_str(r, "id")))
			hoy_strv_push(&ids, hoy_json_str(r, "id"));
	for (size_t i = 0; i < ids.n; i++)
		drop_dead(s, ids.v[i]);
}

/* "ID.gone", which ctr_drop_files() made; who is still at it holds the lock in there. */
static void finish_removal(int dirfd, const char *name)
{
	struct hoy_lock l = HOY_LOCK_INIT;
	cleanup_fd int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	l.fd = fd < 0 ? -1 : openat(fd, "lock", O_RDWR | O_CLOEXEC);
	if (l.fd < 0 || !hoy_lock_try(&l, true))
		hoy_remove_tree(dirfd, name);
	hoy_lock_close(&l);
}

static bool is_gone(const char *name)
{
	char id[HOY_ID_SIZE];

	if (strlen(name) != HOY_ID_LEN + 5 || strcmp(name + HOY_ID_LEN, ".gone"))
		return false;
	memcpy(id, name, HOY_ID_LEN);
	id[HOY_ID_LEN] = '\0';
	return hoy_is_id(id);
}

void reconcile(struct hoy_store *s)
{
	cleanup_strv struct hoy_strv lost = HOY_STRV_INIT, gone = HOY_STRV_INIT;
	int fd = openat(s->graphfd, "hoy/containers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d || hoy_store_peek(s, HOY_CONTAINERS, NULL) < 0)
		return;
	while ((e = readdir(d)))
		if (hoy_is_id(e->d_name) && !hoy_container_get(s, e->d_name))
			hoy_strv_push(&lost, e->d_name);
		else if (is_gone(e->d_name))
			hoy_strv_push(&gone, e->d_name);
	for (size_t i = 0; i < gone.n; i++)
		finish_removal(dirfd(d), gone.v[i]);
	for (size_t i = 0; i < lost.n; i++)
		forget(s, lost.v[i]);
	drop_all_dead(s);
}
