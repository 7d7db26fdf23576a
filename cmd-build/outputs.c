/* cmd-build/outputs.c: what a build gives beside an image in the store: its files, facts about it, a log. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd-build/build.h"
#include "cmd-build/outspec.h"
#include "cmd-build/publish.h"
#include "common/base/fd.h"
#include "common/proc/sibling.h"
#include "common/store/images.h"

/* ---- --output ---- */

int outputs_check(struct build *b)
{
	bool many = b->o->platforms.n > 1 || b->o->all_platforms;
	int r = 0;

	for (size_t i = 0; i < b->o->outputs.n && !r; i++) {
		cleanup_outspec struct outspec o;

		r = outspec_parse(&o, b->o->outputs.v[i], &b->err);
		if (!r && many && (o.kind == OUT_TAR || (o.kind == OUT_DOCKER && o.dest)))
			r = hoy_fail(&b->err, HOY_EUNSUPPORTED, "a tar holds %s of one platform: '%s'", o.kind == OUT_TAR ? "the files" : "the image", b->o->outputs.v[i]);
		if (!r)
			r = publish_check(b, &o);
		if (!r && o.kind != OUT_DIR && o.dest && !strcmp(o.dest, "-") && b->out < 0) {
			/* It's for that alone: what is said goes to stderr. */
			b->out = fcntl(1, F_DUPFD_CLOEXEC, 3);
			if (b->out < 0 || dup2(2, 1) < 0)
				r = hoy_fail_errno(&b->err, errno, "cannot write to stdout");
		}
	}
	return r;
}

static int spawn(char **argv, int in, int out, pid_t *ret)
{
	cleanup_free char *path = hoy_sibling(argv[0]);
	posix_spawn_file_actions_t fa;
	int r;

	if (!path)
		return -ENOMEM;
	posix_spawn_file_actions_init(&fa);
	if (in >= 0)
		posix_spawn_file_actions_adddup2(&fa, in, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	r = posix_spawnp(ret, path, &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	return -r;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -HOY_EREMOTE;
}

/* The tar of all beneath ROOT to OUT. */
static int write_tar(const char *root, int out)
{
	char *argv[] = { (char *)"hoy-transfer", (char *)"layer", (char *)"diff", (char *)root, NULL };
	pid_t pid;
	int r = spawn(argv, -1, out, &pid);

	return r ? r : wait_for(pid);
}

/* All beneath ROOT into the directory DEST: a tar of it, unpacked. */
static int write_dir(const char *root, const char *dest)
{
	char *diff[] = { (char *)"hoy-transfer", (char *)"layer", (char *)"diff", (char *)root, NULL };
	char *unpack[] = { (char *)"hoy-transfer", (char *)"layer", (char *)"unpack", (char *)"--keep-whiteouts", (char *)dest, NULL };
	cleanup_fd int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
	pid_t from, to;
	int p[2], r, s;

	if (nothing < 0 || pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	r = spawn(diff, -1, p[1], &from);
	s = r ? r : spawn(unpack, p[0], nothing, &to);
	hoy_close(p[0]);
	hoy_close(p[1]);
	if (!s)
		s = wait_for(to);
	if (!r)
		r = wait_for(from);
	return r ?: s;
}

static int write_one(struct build *b, const struct outspec *o, const char *root)
{
	cleanup_free char *dest = b->many ? hoy_asprintf("%s/%s_%s%s%s", o->dest, b->plat.os, b->plat.arch, *b->plat.variant ? "_" : "", b->plat.variant) :
					    strdup(o->dest);
	cleanup_fd int fd = -1;
	int r;

	if (!dest)
		return hoy_fail_oom(&b->err);
	if (o->kind == OUT_DIR) {
		r = hoy_mkdir_p(dest, 0700);
		if (!r)
			r = write_dir(root, dest);
	} else {
		fd = strcmp(dest, "-") ? open(dest, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
		r = fd < 0 && strcmp(dest, "-") ? -errno : write_tar(root, fd < 0 ? b->out : fd);
	}
	if (r == -HOY_EREMOTE)
		return r; /* it has told the user why */
	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot write '%s'", dest) : 0;
}

/* An image without layers has no files. */
static int root_of(struct build *b, const char *layer, char **ret)
{
	cleanup_free char *made = NULL;

	if (*layer)
		return mount_layer(b, layer, true, ret);
	made = strdup("/var/tmp/hoy-build-XXXXXX");
	if (!made || !mkdtemp(made))
		return hoy_fail_errno(&b->err, errno, "cannot make a temporary directory");
	*ret = steal_ptr(&made);
	return 0;
}

int image_files(struct build *b, const char *id, int (*use)(struct build *b, const char *root, void *arg), void *arg)
{
	cleanup_free char *layer = NULL, *root = NULL;
	int r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);

	if (r < 0)
		return r;
	layer = strdup(hoy_json_str(hoy_image_get(b->s, id), "layer") ?: "");
	r = layer ? root_of(b, layer, &root) : hoy_fail_oom(&b->err);
	if (r < 0)
		return r;
	r = use(b, root, arg);
	if (*layer)
		(void)unmount_layer(b, layer, NULL);
	else
		(void)rmdir(root);
	return r;
}

static bool wants_files(const struct build *b)
{
	for (size_t i = 0; i < b->o->outputs.n; i++) {
		cleanup_outspec struct outspec o;

		if (!outspec_parse(&o, b->o->outputs.v[i], NULL) && (o.kind == OUT_DIR || o.kind == OUT_TAR))
			return true;
	}
	return false;
}

static int write_all(struct build *b, const char *root, void *arg)
{
	int r = 0;

	(void)arg;
	for (size_t i = 0; i < b->o->outputs.n && !r; i++) {
		cleanup_outspec struct outspec o;

		r = outspec_parse(&o, b->o->outputs.v[i], &b->err);
		if (!r && (o.kind == OUT_DIR || o.kind == OUT_TAR))
			r = write_one(b, &o, root);
	}
	return r;
}

int outputs_write(struct build *b)
{
	return wants_files(b) ? image_files(b, build_image(b), write_all, NULL) : 0;
}

/* ---- facts ---- */

static int write_text(struct build *b, const char *path, const char *text)
{
	int r = hoy_replace_file(AT_FDCWD, path, text, strlen(text), 0644, false);

	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot write '%s'", path) : 0;
}

int write_iid(struct build *b, const char *id)
{
	cleanup_free char *text = hoy_asprintf("sha256:%s", id);

	if (!b->o->iidfile)
		return 0;
	return text ? write_text(b, b->o->iidfile, text) : hoy_fail_oom(&b->err);
}

int write_metadata(struct build *b, const char *id)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20), names = HOY_BUF_INIT(1 << 20);
	cleanup_free char *config = hoy_asprintf("sha256:%s", id);
	struct hoy_jw w = hoy_jw_on(&out, "  ");
	const struct hoy_json *rec;
	int r = b->o->metadata_file ? hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err) : 0;

	if (r < 0 || !b->o->metadata_file)
		return r;
	rec = hoy_image_get(b->s, id);
	for (size_t i = 0; i < b->o->tags.n; i++) {
		cleanup_free char *name = full_name(b->o->tags.v[i], &b->err);

		hoy_buf_printf(&names, "%s%s", i ? "," : "", name ?: "");
	}
	hoy_jw_object(&w, NULL);
	if (!b->o->manifest)
		hoy_jw_string(&w, "containerimage.config.digest", config);
	hoy_jw_string(&w, "containerimage.digest", b->pushed ?: hoy_json_str(rec, "digest"));
	hoy_jw_string_opt(&w, "image.name", b->o->manifest ?: hoy_buf_str(&names));
	hoy_jw_end_object(&w);
	hoy_buf_putc(&out, '\n');
	return out.error || names.error || !config ? hoy_fail_oom(&b->err) : write_text(b, b->o->metadata_file, out.data);
}

/* ---- --logfile ---- */

int log_begin(struct build *b)
{
	cleanup_fd int fd = -1;

	if (!b->o->logfile)
		return 0;
	fd = open(b->o->logfile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return hoy_fail_errno(&b->err, errno, "cannot write '%s'", b->o->logfile);
	fflush(stdout);
	for (int k = 0; k < 2; k++) {
		b->told[k] = fcntl(k + 1, F_DUPFD_CLOEXEC, 3);
		if (b->told[k] < 0 || dup2(fd, k + 1) < 0)
			return hoy_fail_errno(&b->err, errno, "cannot write to the log");
	}
	return 0;
}

int log_split(struct build *b)
{
	cleanup_free char *name = NULL;

	if (!b->o->logfile || !b->o->logsplit || !b->many)
		return 0;
	name = hoy_asprintf("%s_%s_%s%s%s", b->o->logfile, b->plat.os, b->plat.arch, *b->plat.variant ? "_" : "", b->plat.variant);
	b->log = name ? fopen(name, "we") : NULL;
	return b->log ? 0 : hoy_fail_errno(&b->err, errno, "cannot write '%s'", name ?: "");
}

void log_end(struct build *b)
{
	fflush(stdout);
	for (int k = 0; k < 2; k++)
		if (b->told[k] >= 0) {
			dup2(b->told[k], k + 1);
			hoy_close(b->told[k]);
			b->told[k] = -1;
		}
}
