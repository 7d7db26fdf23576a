/* cmd-image/transfer/tags.c: `list-tags`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/registry.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/ref.h"

#define TAGS_MAX ((size_t)16 << 20)
#define PAGES_MAX 1000

int registry_tags(struct registry *r, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("/v2/%s/tags/list", registry_path(r));
	int res = path ? 0 : hoy_fail_oom(err);

	for (int page = 0; !res && path && page < PAGES_MAX; page++) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		cleanup_answer struct answer a = { 0 };

		res = registry_do(r, "GET", path, "application/json", NULL, NULL, 0, TAGS_MAX, &a, err);
		if (!res && a.status != 200)
			res = registry_refused(r, &a, "tags", err);
		if (!res)
			res = hoy_json_parse(&doc, hoy_buf_str(&a.body), a.body.len, "list of tags", err);
		if (res < 0)
			break;
		HOY_JSON_EACH(t, hoy_json_get(doc.root, "tags"))
			if (hoy_json_text(t))
				hoy_strv_push(ret, t->str);
		free(path);
		path = registry_next_page(&a);
	}
	return res ? res : ret->error ? hoy_fail_oom(err) : 0;
}

static int open_repo(struct registry **ret, const char *name, const struct reg_opts *o, char **ret_repo, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	int r = hoy_ref_parse(&ref, strncmp(name, "docker://", 9) ? name : name + 9, err);

	if (!r && (ref.tag || ref.digest))
		r = hoy_fail(err, EINVAL, "'%s' is to be a repository, without tag or digest", name);
	if (!r && (hoy_ref_normalize(&ref) < 0 || !(*ret_repo = hoy_ref_repo(&ref))))
		r = hoy_fail_oom(err);
	if (!r)
		r = registry_at(ret, &ref, o, err);
	return r ? r : registry_ping(*ret, false, err);
}

int list_tags(const char *name, const struct reg_opts *o, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_free char *repo = NULL;
	struct registry *r = NULL;
	int res = open_repo(&r, name, o, &repo, err);

	if (!res)
		res = registry_tags(r, ret, err);
	registry_free(r);
	return res;
}

static const struct hoy_opt tags_opts[] = { REG_LOGIN_OPTS(0, "", ""), REG_RETRY_OPTS(0), HOY_OPTS_END };

/* The names of all images of a docker archive, as they stand in it. */
static int archive_tags(const char *path, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv images = HOY_STRV_INIT;
	cleanup_free char *file = NULL;
	const char *ref;
	int r;

	/* A reference behind the file says nothing here. */
	layout_split(path, &file, &ref);
	r = file ? archive_images(file, true, &images, err) : hoy_fail_oom(err);
	for (size_t i = 0; !r && i < images.n; i++) {
		cleanup_source struct source *src = NULL;

		r = source_docker_archive(&src, images.v[i], err);
		for (size_t k = 0; !r && k < src->names.n; k++)
			hoy_strv_push(ret, src->names.v[k]);
	}
	return r ? r : ret->error ? hoy_fail_oom(err) : 0;
}

static int tags_of(const char *name, const struct reg_opts *o, char **ret_repo, struct hoy_strv *ret, struct hoy_err *err)
{
	struct registry *r = NULL;
	int res;

	if (!strncmp(name, "docker-archive:", 15))
		return archive_tags(name + 15, ret, err);
	if (hoy_names_transport(name) && strncmp(name, "docker://", 9))
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' cannot be listed (docker:// and docker-archive: can)", name);
	res = open_repo(&r, name, o, ret_repo, err);
	if (!res)
		res = registry_tags(r, ret, err);
	registry_free(r);
	return res;
}

static int run_list_tags(const struct hoy_verb *v, int argc, char **argv)
{
	struct reg_opts o = REG_OPTS_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_strv struct hoy_strv tags = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_free char *repo = NULL;
	struct hoy_jw w = hoy_jw_on(&b, "    ");
	int status, n = skopeo_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	if (tags_of(argv[1], &o, &repo, &tags, &err) < 0)
		return skopeo_failed(&err);
	hoy_jw_object(&w, NULL);
	if (repo)
		hoy_jw_string(&w, "Repository", repo);
	hoy_jw_strings(&w, "Tags", tags.v, tags.n);
	hoy_jw_end_object(&w);
	puts(hoy_buf_str(&b));
	return 0;
}
const struct hoy_verb verb_list_tags = { "list-tags", "[options] [docker://]REPOSITORY|docker-archive:FILE", "List the tags of a repository",
					 tags_opts, run_list_tags, HOY_VERB_COPIES };
