/* cmd-build/copystep.c: COPY and ADD: what is copied from where, told to hoy-builder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-build/build.h"
#include "cmd-build/fetch.h"
#include "cmd-build/linkstep.h"
#include "cmd-build/source.h"
#include "cmd-build/srcpolicy.h"
#include "cmd-build/subst.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/store/layers.h"

static bool starts(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

/* A here-document among the sources: "<<NAME" for hoy-builder, its text in a file. */
static int push_doc(struct state *s, const struct cf_instr *i, size_t *nth, struct hoy_strv *argv)
{
	const struct cf_doc *d = &i->docs[(*nth)++];
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT;
	cleanup_free char *text = NULL;
	int r;

	config_vars(s, &vars);
	text = d->expand ? subst_text(d->content, '\\', &vars, &s->b->err) : strdup(d->content);
	if (!text)
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "%s", (char *)strdupa(s->b->err.msg));
	r = doc_file(s->b, d->name, text, 0644);
	hoy_strv_pushf(argv, "<<%s", d->name);
	return r;
}

/* The name that the file of a web server gets: in a directory of its own in the build's. */
static int name_fetched(struct state *s, const struct cf_instr *i, const char *url, const char *path, struct hoy_strv *argv)
{
	cleanup_free char *file = NULL;
	int r = fetch_name(s->b, url, path, &file);

	if (r < 0)
		return cfile_fail(&s->b->f, i, &s->b->err, -r, "%s", (char *)strdupa(s->b->err.msg));
	hoy_strv_pushf(argv, "<@%s", file + strlen(s->b->tmp) + 1);
	return 0;
}

static int push_remote(struct state *s, const struct cf_instr *i, const char *url, struct hoy_strv *argv)
{
	cleanup_free char *what = hoy_asprintf("%s:%u: %s", cf_name(&s->b->f, i), i->line, i->word);
	cleanup_free char *other = NULL;
	const char *path;
	bool keep;
	int r = cf_bool(&s->b->f, i, "keep-git-dir", false, &keep, &s->b->err);

	if (!r)
		r = srcpolicy_url(s->b, url, &other);
	if (!r)
		r = fetch(s->b, other ?: url, keep, what, &path);
	if (r < 0)
		return s->b->err.code ? cfile_fail(&s->b->f, i, &s->b->err, -r, "%s", (char *)strdupa(s->b->err.msg)) : r;
	if (!is_git(other ?: url))
		return name_fetched(s, i, url, path, argv);
	hoy_strv_pushf(argv, "<+%s", path + strlen(s->b->tmp) + 1);
	return 0;
}

/* --checksum is for what somebody else could change. */
static int check_local(struct state *s, const struct cf_instr *i, bool remote)
{
	const char *sum = cf_flag(i, "checksum");

	if (sum && !remote)
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "checksum flag is not supported for local sources");
	return 0;
}

/* As buildah has it: what is behind ".." in the destination need not be there. In new memory. */
static char *destination(const struct state *s, const char *word)
{
	cleanup_free char *clean = NULL;
	const char *end = strrchr(word, '/');
	bool dir = end && (!end[1] || !strcmp(end, "/.") || !strcmp(end, "/.."));

	if (!strstr(word, ".."))
		return strdup(word);
	clean = join_clean(config_str(s, "WorkingDir"), word);
	return clean ? hoy_asprintf("%s%s", clean, dir && clean[1] ? "/" : "") : NULL;
}

static int push_paths(struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	size_t nth = 0;
	int r = 0;

	for (size_t k = 0; k < i->args.n && !r; k++) {
		bool last = k + 1 == i->args.n, remote;
		cleanup_free char *word = NULL, *dest = NULL;

		if (nth < i->n_docs && !last && !i->json && starts(i->args.v[k], "<<")) {
			r = push_doc(s, i, &nth, argv);
			continue;
		}
		word = last && is_linked(s, i) ? linked_target(s, i, true) : config_word(s, i, i->args.v[k]);
		if (!word)
			return s->b->err.code ? -s->b->err.code : hoy_fail_oom(&s->b->err);
		remote = !last && *i->word == 'A' && is_remote(word);
		r = last ? 0 : check_local(s, i, remote);
		dest = last ? destination(s, word) : NULL;
		if (last && !dest)
			r = hoy_fail_oom(&s->b->err);
		else if (!r && remote)
			r = push_remote(s, i, word, argv);
		else
			hoy_strv_push(argv, dest ?: word);
	}
	return r;
}

/* Flags with a value, handed on with variables put in. */
static int push_values(struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	static const char *const flags[] = { "chown", "chmod", "checksum", "exclude" };

	for (size_t k = 0; k < i->flags.n; k++)
		for (size_t m = 0; m < ARRAY_SIZE(flags); m++) {
			size_t len = strlen(flags[m]);
			const char *flag = i->flags.v[k] + 2;
			cleanup_free char *word = NULL;

			if (strncmp(flag, flags[m], len) || (flag[len] && flag[len] != '='))
				continue;
			word = config_word(s, i, flag[len] ? flag + len + 1 : "");
			if (!word)
				return -s->b->err.code;
			if (!*word)
				return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "--%s needs a value", flags[m]);
			hoy_strv_pushf(argv, "--%s=%s", flags[m], word);
		}
	return 0;
}

/* --link: a directory in which it is put together, empty for each; an upper directory is such a one. */
static int push_link(struct state *s, const struct cf_instr *i, const char *upper, struct hoy_strv *argv)
{
	cleanup_free char *dir = NULL;
	bool on;
	int r = cf_bool(&s->b->f, i, "link", false, &on, &s->b->err);

	if (r < 0 || !on)
		return r;
	if (upper) {
		hoy_strv_pushf(argv, "--link=%s", upper);
		return 0;
	}
	r = need_tmp(s->b);
	dir = r ? NULL : hoy_asprintf("%s/link", s->b->tmp);
	if (!dir)
		return r ?: hoy_fail_oom(&s->b->err);
	r = hoy_remove_tree(AT_FDCWD, dir);
	if (!r && mkdir(dir, 0755) < 0)
		r = -errno;
	hoy_strv_pushf(argv, "--link=%s", dir);
	return r < 0 ? hoy_fail_errno(&s->b->err, -r, "cannot create '%s'", dir) : 0;
}

static int push_copy_flags(struct state *s, const struct cf_instr *i, const struct source *src, const char *root, const char *upper,
			   struct hoy_strv *argv)
{
	const char *dir = config_str(s, "WorkingDir");
	bool parents, unpack;
	int r = push_values(s, i, argv);

	if (!r)
		r = push_link(s, i, upper, argv);
	if (!r)
		r = cf_bool(&s->b->f, i, "parents", false, &parents, &s->b->err);
	if (!r)
		r = cf_bool(&s->b->f, i, "unpack", *i->word == 'A', &unpack, &s->b->err);
	if (r < 0)
		return r;
	hoy_strv_pushf(argv, "--what=%s:%u: %s", cf_name(&s->b->f, i), i->line, i->word);
	hoy_strv_pushf(argv, "--root=%s", root);
	hoy_strv_pushf(argv, "--context=%s", src->path);
	hoy_strv_pushf(argv, "--workdir=%s", *dir ? dir : "/");
	if (src->maps)
		userns_map_argv(src->maps, "from-", argv);
	if (src->image)
		hoy_strv_push(argv, "--from-image");
	else if (s->b->ignore && !src->named)
		hoy_strv_pushf(argv, "--ignore=%s", s->b->ignore);
	if (parents)
		hoy_strv_push(argv, "--parents");
	if (unpack)
		hoy_strv_push(argv, cf_flag(i, "unpack") ? "--add=all" : "--add");
	return 0;
}

/* Whose the files are outside of the container's user namespace. An archive is unpacked in the build's own directory then. */
static int push_maps(struct state *s, struct hoy_strv *argv)
{
	int r = hoy_idmaps_empty(&s->work->ns.maps) ? 0 : need_tmp(s->b);

	userns_map_argv(&s->work->ns.maps, "", argv);
	return r;
}

/* UPPER: the upper directory of an overlay on ROOT, which is written to; NULL: ROOT itself is. */
static int copy(struct state *s, const struct cf_instr *i, const struct source *src, const char *root, const char *upper, bool dry, char **ret_sum)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT, paths = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	size_t line;
	int status, r = push_paths(s, i, &paths);

	hoy_strv_push(&argv, "copy");
	if (!r)
		r = push_copy_flags(s, i, src, root, upper, &argv);
	if (r < 0)
		return r;
	if (upper)
		hoy_strv_pushf(&argv, "--upper=%s", upper);
	if (dry)
		hoy_strv_push(&argv, "--dry-run");
	else
		r = push_maps(s, &argv);
	if (r < 0)
		return r;
	if (s->b->tmp)
		hoy_strv_pushf(&argv, "--docs=%s", s->b->tmp);
	hoy_strv_push(&argv, "--");
	for (size_t k = 0; k < paths.n; k++)
		hoy_strv_push(&argv, paths.v[k]);
	if (argv.error || paths.error)
		return hoy_fail_oom(&s->b->err);
	status = hoy_call_tool("hoy-builder", (const char *const *)argv.v, &out);
	if (status < 0)
		return hoy_fail_errno(&s->b->err, -status, "cannot run hoy-builder");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	line = strcspn(hoy_buf_str(&out), "\n");
	if (is_linked(s, i))
		s->linked_at = strtoll(hoy_buf_str(&out) + line, NULL, 10);
	*ret_sum = strndup(hoy_buf_str(&out), line);
	return *ret_sum ? 0 : hoy_fail_oom(&s->b->err);
}

static int open_from(struct state *s, const struct cf_instr *i, struct source *src)
{
	const char *flag = cf_flag(i, "from");
	cleanup_free char *from = flag ? config_word(s, i, flag) : NULL;

	int r;

	if (flag && !from)
		return -s->b->err.code;
	r = source_open(s, from, src);
	return r < 0 && s->b->err.code ? cfile_fail(&s->b->f, i, &s->b->err, s->b->err.code, "%s", (char *)strdupa(s->b->err.msg)) : r;
}

/*
 * Into a new working container that nobody has mounted yet: its upper directory is written to, which is ten times as fast as through
 * the overlay. (But for what hoy-transfer unpacks, which needs to see the whole.)
 */
static int copy_upper(struct state *s, const struct cf_instr *i, const struct source *src, char **ret_sum)
{
	cleanup_free char *upper = hoy_layer_path(s->b->s, s->work->layer, "diff"), *root = NULL;
	char below[HOY_ID_SIZE];
	int r;

	if (!upper)
		return hoy_fail_oom(&s->b->err);
	s->work->plain = true;
	if (!*s->layer)
		return copy(s, i, src, upper, NULL, false, ret_sum);
	snprintf(below, sizeof(below), "%s", s->layer);
	r = mount_layer(s->b, below, true, &root);
	if (r < 0)
		return r;
	r = copy(s, i, src, root, upper, false, ret_sum);
	(void)unmount_layer(s->b, below, NULL);
	return r;
}

int work_copy(struct state *s, const struct cf_instr *i, char **ret_sum)
{
	struct source src = { .path = NULL };
	bool volumes = !cf_flag(i, "link") && work_lacks_volumes(s);
	bool fresh = !s->work && !s->b->s->vfs && (*i->word == 'C' || is_linked(s, i)) && !s->b->ns.own && !volumes;
	int r = fresh ? work_new(s) : work_open(s);

	if (!r && volumes)
		r = work_volumes(s, hoy_json_path(s->base.root, "config", "Volumes", NULL));
	if (!r)
		r = open_from(s, i, &src);
	if (!r)
		r = fresh ? copy_upper(s, i, &src, ret_sum) : copy(s, i, &src, s->work->root, NULL, false, ret_sum);
	source_close(s, &src);
	return r ? r : stopped(s->b);
}

int work_digest(struct state *s, const struct cf_instr *i, char **ret_sum)
{
	struct source src = { .path = NULL };
	cleanup_free char *root = NULL;
	int r = mount_layer(s->b, s->layer, true, &root);

	if (r < 0)
		return r;
	r = open_from(s, i, &src);
	if (!r)
		r = copy(s, i, &src, root, NULL, true, ret_sum);
	source_close(s, &src);
	(void)unmount_layer(s->b, s->layer, NULL);
	return r ? r : stopped(s->b);
}
