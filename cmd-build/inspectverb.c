/* cmd-build/inspectverb.c: `inspect`: all settings of a working container, or those that one of an image would have, as buildah prints them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd-build/ctr.h"
#include "cmd-build/verbs.h"
#include "common/cli/template.h"
#include "common/data/base64.h"

struct inspect_opts {
	const char *format, *type;
};
static const struct hoy_opt inspect_opts[] = {
	{ 'f', "format", HOY_OPT_STRING, offsetof(struct inspect_opts, format), "TEMPLATE", "a Go template" },
	{ 't', "type", HOY_OPT_STRING, offsetof(struct inspect_opts, type), "TYPE", "container (default) or image" },
	HOY_OPTS_END,
};

/* A member of one of Go's structs: its JSON name, its Go name for templates, and what it is if it isn't there. */
struct member {
	const char *key, *name;
	const char *zero;  /* JSON */
	bool always;	   /* written even then */
	const struct member *of; /* of the objects that it is or has */
};
#define END { NULL, NULL, NULL, false, NULL }

static const struct member oci_config[] = {
	{ "User", "User", "\"\"", false, NULL }, { "ExposedPorts", "ExposedPorts", "{}", false, NULL }, { "Env", "Env", "[]", false, NULL },
	{ "Entrypoint", "Entrypoint", "[]", false, NULL }, { "Cmd", "Cmd", "[]", false, NULL }, { "Volumes", "Volumes", "{}", false, NULL },
	{ "WorkingDir", "WorkingDir", "\"\"", false, NULL }, { "Labels", "Labels", "{}", false, NULL },
	{ "StopSignal", "StopSignal", "\"\"", false, NULL }, { "ArgsEscaped", "ArgsEscaped", "false", false, NULL }, END
}, health[] = {
	{ "Test", "Test", "[]", false, NULL }, { "Interval", "Interval", "0", false, NULL }, { "Timeout", "Timeout", "0", false, NULL },
	{ "StartPeriod", "StartPeriod", "0", false, NULL }, { "StartInterval", "StartInterval", "0", false, NULL },
	{ "Retries", "Retries", "0", false, NULL }, END
}, docker_config[] = {
	{ "Hostname", "Hostname", "\"\"", true, NULL }, { "Domainname", "Domainname", "\"\"", true, NULL }, { "User", "User", "\"\"", true, NULL },
	{ "AttachStdin", "AttachStdin", "false", true, NULL }, { "AttachStdout", "AttachStdout", "false", true, NULL },
	{ "AttachStderr", "AttachStderr", "false", true, NULL }, { "ExposedPorts", "ExposedPorts", "{}", false, NULL },
	{ "Tty", "Tty", "false", true, NULL }, { "OpenStdin", "OpenStdin", "false", true, NULL }, { "StdinOnce", "StdinOnce", "false", true, NULL },
	{ "Env", "Env", "null", true, NULL }, { "Cmd", "Cmd", "null", true, NULL }, { "Healthcheck", "Healthcheck", "null", false, health },
	{ "ArgsEscaped", "ArgsEscaped", "false", false, NULL }, { "Image", "Image", "\"\"", true, NULL }, { "Volumes", "Volumes", "null", true, NULL },
	{ "WorkingDir", "WorkingDir", "\"\"", true, NULL }, { "Entrypoint", "Entrypoint", "null", true, NULL },
	{ "OnBuild", "OnBuild", "[]", true, NULL }, { "Labels", "Labels", "null", true, NULL }, { "StopSignal", "StopSignal", "\"\"", false, NULL },
	{ "StopTimeout", "StopTimeout", "null", false, NULL }, { "Shell", "Shell", "[]", false, NULL }, END
}, history[] = {
	{ "created", "Created", "null", false, NULL }, { "created_by", "CreatedBy", "\"\"", false, NULL }, { "author", "Author", "\"\"", false, NULL },
	{ "comment", "Comment", "\"\"", false, NULL }, { "empty_layer", "EmptyLayer", "false", false, NULL }, END
}, docker_history[] = {
	{ "created", "Created", "\"\"", true, NULL }, { "author", "Author", "\"\"", false, NULL }, { "created_by", "CreatedBy", "\"\"", false, NULL },
	{ "comment", "Comment", "\"\"", false, NULL }, { "empty_layer", "EmptyLayer", "false", false, NULL }, END
}, rootfs[] = {
	{ "type", "Type", "\"\"", true, NULL }, { "diff_ids", "DiffIDs", "null", true, NULL }, END
}, docker_rootfs[] = {
	{ "type", "Type", "\"\"", true, NULL }, { "diff_ids", "DiffIDs", "[]", false, NULL }, END
}, oci[] = {
	{ "created", "Created", "null", false, NULL }, { "author", "Author", "\"\"", false, NULL }, { "architecture", "Architecture", "\"\"", true, NULL },
	{ "os", "OS", "\"\"", true, NULL }, { "os.version", "OSVersion", "\"\"", false, NULL }, { "os.features", "OSFeatures", "[]", false, NULL },
	{ "variant", "Variant", "\"\"", false, NULL }, { "config", "Config", "{}", true, oci_config }, { "rootfs", "RootFS", "{}", true, rootfs },
	{ "history", "History", "[]", false, history }, END
}, docker[] = {
	{ "id", "ID", "\"\"", false, NULL }, { "parent", "Parent", "\"\"", false, NULL }, { "comment", "Comment", "\"\"", false, NULL },
	{ "created", "Created", "\"\"", true, NULL }, { "container", "Container", "\"\"", false, NULL },
	{ "container_config", "ContainerConfig", "{}", true, docker_config }, { "docker_version", "DockerVersion", "\"\"", false, NULL },
	{ "author", "Author", "\"\"", false, NULL }, { "config", "Config", "{}", true, docker_config },
	{ "architecture", "Architecture", "\"\"", false, NULL }, { "variant", "Variant", "\"\"", false, NULL }, { "os", "OS", "\"\"", false, NULL },
	{ "rootfs", "RootFS", "{}", false, docker_rootfs }, { "history", "History", "[]", false, docker_history },
	{ "os.version", "OSVersion", "\"\"", false, NULL }, { "os.features", "OSFeatures", "[]", false, NULL }, END
};

static bool empty(const struct hoy_json *v)
{
	return !v || v->type == HOY_JSON_NULL || (v->type == HOY_JSON_STRING && !v->len) || (v->type == HOY_JSON_BOOL && !v->boolean) ||
	       ((v->type == HOY_JSON_ARRAY || v->type == HOY_JSON_OBJECT) && !v->count);
}

/* The members M of V; GO: for templates, with Go's names and all of them. */
static void put_struct(struct hoy_jw *w, const char *key, const struct hoy_json *v, const struct member *m, bool go)
{
	hoy_jw_object(w, key);
	for (; m->key; m++) {
		const struct hoy_json *of = hoy_json_get(v, m->key);
		const char *name = go ? m->name : m->key;

		if (empty(of) && !go && !m->always)
			continue;
		if (!of || of->type == HOY_JSON_NULL) {
			hoy_jw_raw(w, name, of && of->type == HOY_JSON_NULL ? "null" : m->zero);
		} else if (m->of && of->type == HOY_JSON_ARRAY) {
			hoy_jw_array(w, name);
			HOY_JSON_EACH(e, of)
				put_struct(w, NULL, e, m->of, go);
			hoy_jw_end_array(w);
		} else if (m->of) {
			put_struct(w, name, of, m->of, go);
		} else if (of->type == HOY_JSON_OBJECT) {
			hoy_jw_sorted(w, name, of);
		} else {
			hoy_jw_value(w, name, of);
		}
	}
	hoy_jw_end_object(w);
}

static void put_text(struct hoy_jw *w, const struct hoy_json *root, const char *name, const char *key)
{
	hoy_jw_string(w, name, hoy_json_str(root, key));
}

static void put_value(struct hoy_jw *w, const struct hoy_json *root, const char *key)
{
	if (hoy_json_get(root, key))
		hoy_jw_value(w, key, hoy_json_get(root, key));
	else
		hoy_jw_null(w, key);
}

/* What is kept in base64 is shown as it is. */
static void put_bytes(struct hoy_jw *w, const struct hoy_json *root, const char *name, const char *key)
{
	cleanup_free char *text = NULL;
	size_t len = 0;

	if (hoy_json_str(root, key) && !hoy_unbase64_new(hoy_json_str(root, key), &text, &len))
		hoy_jw_stringn(w, name, text, len);
	else
		hoy_jw_string(w, name, "");
}

static void put_history(struct hoy_jw *w, const struct hoy_json *root, bool go)
{
	const struct hoy_json *lists[] = { hoy_json_get(hoy_json_get(root, "ociv1"), "history"), hoy_json_get(root, "PrependedEmptyLayers"),
					   hoy_json_get(root, "AppendedEmptyLayers") };

	if (empty(lists[0]) && empty(lists[1]) && empty(lists[2]) && !go) {
		hoy_jw_null(w, "History");
		return;
	}
	hoy_jw_array(w, "History");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		HOY_JSON_EACH(h, lists[i])
			put_struct(w, NULL, h, history, go);
	hoy_jw_end_array(w);
}

static void put_tail(struct hoy_jw *w, const struct hoy_json *root, bool go)
{
	static const char *const isolations[] = { "oci", "oci", "chroot", "rootless" },
			  *const networks[] = { "NetworkDefault", "NetworkDisabled", "NetworkEnabled" };
	int64_t isolation = hoy_json_int(root, "Isolation", 0), network = hoy_json_int(root, "ConfigureNetwork", 0);

	put_text(w, root, "DefaultMountsFilePath", "defaultMountsFilePath");
	hoy_jw_string(w, "Isolation", isolation >= 0 && isolation < 4 ? isolations[isolation] : "");
	put_value(w, root, "NamespaceOptions");
	put_value(w, root, "Capabilities");
	hoy_jw_string(w, "ConfigureNetwork", network >= 0 && network < 3 ? networks[network] : "");
	put_text(w, root, "CNIPluginPath", "CNIPluginPath");
	put_text(w, root, "CNIConfigDir", "CNIConfigDir");
	put_value(w, root, "IDMappingOptions");
	put_history(w, root, go);
	put_value(w, root, "Devices");
	put_value(w, root, "DeviceSpecs");
	put_text(w, root, "CDIConfigDir", "CDIConfigDir");
}

static void put_all(struct hoy_jw *w, const struct hoy_json *root, bool go)
{
	hoy_jw_object(w, NULL);
	put_text(w, root, "Type", "type");
	put_text(w, root, "FromImage", "image");
	put_text(w, root, "FromImageID", "image-id");
	put_text(w, root, "FromImageDigest", "image-digest");
	put_value(w, root, "GroupAdd");
	put_bytes(w, root, "Config", "config");
	put_bytes(w, root, "Manifest", "manifest");
	put_text(w, root, "Container", "container-name");
	put_text(w, root, "ContainerID", "container-id");
	put_text(w, root, "MountPoint", "mountpoint");
	put_text(w, root, "ProcessLabel", "process-label");
	put_text(w, root, "MountLabel", "mount-label");
	if (empty(hoy_json_get(root, "annotations")))
		hoy_jw_null(w, "ImageAnnotations");
	else
		hoy_jw_sorted(w, "ImageAnnotations", hoy_json_get(root, "annotations"));
	put_text(w, root, "ImageCreatedBy", "created-by");
	put_struct(w, "OCIv1", hoy_json_get(root, "ociv1"), oci, go);
	put_struct(w, "Docker", hoy_json_get(root, "docker"), docker, go);
	put_tail(w, root, go);
	hoy_jw_end_object(w);
}

/* As buildah prints it: a newline follows only on a terminal. */
static int print_template(struct ctr *c, const char *format, const struct hoy_buf *text)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_template *t = NULL;
	int r = hoy_json_parse(&d, text->data, text->len, "settings", &c->b.err);

	if (!r)
		r = hoy_template_new(&t, format, &c->b.err);
	if (!r)
		r = hoy_template_eval(t, d.root, &out, &c->b.err);
	hoy_template_free(t);
	if (r < 0)
		return r;
	fwrite(hoy_buf_str(&out), 1, out.len, stdout);
	if (isatty(1))
		putchar('\n');
	return 0;
}

static int print(struct ctr *c, const char *format)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&out, format ? NULL : "    ");

	/* Both configs of docker's form are one. */
	if (hoy_json_get(hoy_json_get(c->d.root, "docker"), "config"))
		hoy_json_put(&c->d, hoy_json_get(c->d.root, "docker"), "container_config",
			     hoy_json_copy(&c->d, hoy_json_get(hoy_json_get(c->d.root, "docker"), "config")));
	put_all(&w, c->d.root, format != NULL);
	if (out.error)
		return hoy_fail_oom(&c->b.err);
	if (format)
		return print_template(c, format, &out);
	puts(out.data);
	return 0;
}

/* What a working container of the image would have. */
static int of_image(struct ctr *c, const char *name)
{
	struct stage st = { .base_stage = -1 };
	struct state s = { .b = &c->b, .st = &st };
	int r = ctr_open_store(c);

	c->o.pull = "never";
	if (!r)
		r = image_base(&s, name);
	if (r < 0)
		hoy_fail(&c->b.err, ENOENT, "importing settings: %s: image not known", name);
	/* The first of its names, whichever it was asked for by. */
	free(s.name);
	s.name = NULL;
	if (!r)
		r = ctr_describe(c, &s, NULL);
	state_release(&s);
	return r;
}

static int look(struct ctr *c, const struct inspect_opts *o, const char *name)
{
	int r;

	if (o->type && strcmp(o->type, "container") && strcmp(o->type, "image"))
		return hoy_fail(&c->b.err, EINVAL, "the only recognized types are \"container\" and \"image\"");
	if (o->type && !strcmp(o->type, "image"))
		return of_image(c, name);
	r = ctr_open(c, name);
	if (r < 0 && !o->type) {
		c->b.err = (struct hoy_err)HOY_ERR_INIT;
		r = of_image(c, name);
	}
	return r;
}

static int run_inspect(const struct hoy_verb *v, int argc, char **argv)
{
	struct inspect_opts o = { 0 };
	struct ctr c;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	r = options_first(n, argv, "container or image name", &c.b.err);
	if (!r && !n)
		r = hoy_fail(&c.b.err, EINVAL, "container or image name must be specified");
	if (!r && n > 1)
		r = hoy_fail(&c.b.err, EINVAL, "too many arguments specified");
	if (!r)
		r = look(&c, &o, argv[1]);
	if (!r)
		r = print(&c, o.format);
	return ctr_finish(&c, r);
}
const struct hoy_verb verb_inspect = { "inspect", "[options] CONTAINER|IMAGE", "Print the settings of a working container or an image", inspect_opts,
				       run_inspect, HOY_VERB_COMMAND };
