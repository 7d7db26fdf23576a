/* cmd-build/describe.c: what a new working container's settings are: its image's config in two forms, and all that options may change. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "cmd-build/ctr.h"
#include "common/base/fd.h"
#include "common/data/base64.h"
#include "common/data/time.h"
#include "common/store/images.h"

/* What buildah writes whether or not anybody has asked for it. */
static const char skeleton[] =
	"{\"Args\":null,\"type\":\"buildah 0.0.1\",\"image-id\":\"\",\"image-digest\":\"\",\"annotations\":{},\"ociv1\":{},\"docker\":{},"
	"\"Isolation\":1,\"NamespaceOptions\":[{\"Name\":\"cgroup\",\"Host\":false,\"Path\":\"\"},{\"Name\":\"ipc\",\"Host\":false,\"Path\":\"\"},"
	"{\"Name\":\"mount\",\"Host\":false,\"Path\":\"\"},{\"Name\":\"network\",\"Host\":false,\"Path\":\"\"},"
	"{\"Name\":\"pid\",\"Host\":false,\"Path\":\"\"},{\"Name\":\"user\",\"Host\":true,\"Path\":\"\"},"
	"{\"Name\":\"uts\",\"Host\":false,\"Path\":\"\"}],\"ConfigureNetwork\":0,\"CNIPluginPath\":\"\",\"CNIConfigDir\":\"\","
	"\"GroupAdd\":null,\"IDMappingOptions\":{\"HostUIDMapping\":true,\"HostGIDMapping\":true,\"UIDMap\":[],\"GIDMap\":[],"
	"\"AutoUserNs\":false,\"AutoUserNsOpts\":{\"Size\":0,\"InitialSize\":0,\"PasswdFile\":\"\",\"GroupFile\":\"\","
	"\"AdditionalUIDMappings\":null,\"AdditionalGIDMappings\":null}},\"Capabilities\":[],\"PrependedEmptyLayers\":null,"
	"\"AppendedEmptyLayers\":null,\"CommonBuildOpts\":{\"AddHost\":[],\"OmitHistory\":false,\"CgroupParent\":\"\",\"CPUPeriod\":0,"
	"\"CPUQuota\":0,\"CPUShares\":0,\"CPUSetCPUs\":\"\",\"CPUSetMems\":\"\",\"HTTPProxy\":true,\"IdentityLabel\":0,\"Memory\":0,"
	"\"DNSSearch\":[],\"DNSServers\":[],\"DNSOptions\":[],\"LabelOpts\":null,\"Masks\":null,\"MemorySwap\":0,\"NoHostname\":false,"
	"\"NoHosts\":false,\"NoNewPrivileges\":false,\"OmitTimestamp\":false,\"SeccompProfilePath\":\"\",\"ApparmorProfile\":\"\","
	"\"ShmSize\":\"65536k\",\"Ulimit\":[],\"Volumes\":[],\"Secrets\":[],\"SSHSources\":[],\"OCIHooksDir\":[],\"Unmasks\":null},"
	"\"TopLayer\":\"\",\"Format\":\"\",\"TempVolumes\":null,\"ContentDigester\":{},\"Devices\":null,\"DeviceSpecs\":[],"
	"\"CDIConfigDir\":\"\",\"PrependedLinkedLayers\":null,\"AppendedLinkedLayers\":null}";

/* Docker's config object has these even if they say nothing. */
static const char docker_config[] =
	"{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,\"AttachStderr\":false,"
	"\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":null,\"Cmd\":null,\"Image\":\"\",\"Volumes\":null,"
	"\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":[],\"Labels\":null}";

static const char *const oci_config_keys[] = { "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
					       "StopSignal", "ArgsEscaped" };

static bool empty(const struct hoy_json *v)
{
	return !v || v->type == HOY_JSON_NULL || (v->type == HOY_JSON_STRING && !v->len) || (v->type == HOY_JSON_BOOL && !v->boolean) ||
	       ((v->type == HOY_JSON_ARRAY || v->type == HOY_JSON_OBJECT) && !v->count);
}

/* The members KEYS of FROM that say something, copied into TO. */
static int copy_keys(struct ctr *c, struct hoy_json *to, const struct hoy_json *from, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!empty(hoy_json_get(from, keys[i])) && !hoy_json_put(&c->d, to, keys[i], hoy_json_copy(&c->d, hoy_json_get(from, keys[i]))))
			return hoy_fail_oom(&c->b.err);
	return 0;
}

/* TRIGGERS: those of the image, too; a container's have been carried out. */
static int fill_docker_config(struct ctr *c, const struct hoy_json *config, bool triggers)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	struct hoy_json *docker = hoy_json_get(c->d.root, "docker"), *own;
	int r = hoy_json_parse(&d, docker_config, sizeof(docker_config) - 1, "docker's config", &c->b.err);

	if (r < 0)
		return r;
	own = hoy_json_put(&c->d, docker, "config", hoy_json_copy(&c->d, d.root));
	HOY_JSON_EACH(m, config)
		if (own && m->type != HOY_JSON_NULL && (triggers || strcmp(m->key, "OnBuild")) && !hoy_json_put(&c->d, own, m->key, hoy_json_copy(&c->d, m)))
			own = NULL;
	return own ? 0 : hoy_fail_oom(&c->b.err);
}

/* Where the image doesn't say it: now, and this machine's. */
static int fill_platform(struct ctr *c, struct hoy_json *form)
{
	char when[HOY_TIME_SIZE];
	struct utsname u;

	uname(&u);
	if (!hoy_json_str(form, "created") && !hoy_json_set_string(&c->d, form, "created", hoy_time_format(hoy_now(), when)))
		return hoy_fail_oom(&c->b.err);
	if (!hoy_json_str(form, "architecture") &&
	    !hoy_json_set_string(&c->d, form, "architecture",
				 !strcmp(u.machine, "x86_64") ? "amd64" : !strcmp(u.machine, "aarch64") ? "arm64" : u.machine))
		return hoy_fail_oom(&c->b.err);
	return hoy_json_str(form, "os") || hoy_json_set_string(&c->d, form, "os", "linux") ? 0 : hoy_fail_oom(&c->b.err);
}

static int fill_forms(struct ctr *c, const struct hoy_json *config, bool triggers)
{
	static const char *const before[] = { "created", "author", "architecture", "variant", "os", "os.version", "os.features" },
			  *const behind[] = { "rootfs", "history" };
	static const char *const forms[] = { "ociv1", "docker" }, *const docker_keys[] = { "id", "parent", "comment", "container" };
	struct hoy_json *own;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(forms) && !r; i++) {
		struct hoy_json *form = hoy_json_get(c->d.root, forms[i]);

		r = copy_keys(c, form, config, before, ARRAY_SIZE(before));
		if (!r)
			r = fill_platform(c, form);
		if (!r && i)
			r = copy_keys(c, form, config, docker_keys, ARRAY_SIZE(docker_keys));
		if (!r && i)
			r = fill_docker_config(c, hoy_json_get(config, "config"), triggers);
		else if (!r)
			r = hoy_json_need(&c->d, form, "config", HOY_JSON_OBJECT) ? 0 : hoy_fail_oom(&c->b.err);
		if (!r)
			r = copy_keys(c, form, config, behind, ARRAY_SIZE(behind));
	}
	own = r ? NULL : ctr_oci(c);
	if (!r)
		r = copy_keys(c, own, hoy_json_get(config, "config"), oci_config_keys, ARRAY_SIZE(oci_config_keys));
	if (!r && !config)
		r = ctr_set(c, "WorkingDir", "/");
	return r;
}

/* The item KEY of the image in base64, as Go writes bytes. */
static int put_item(struct ctr *c, const char *image, const char *item, const char *key)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(16 << 20);
	cleanup_free char *data = NULL;
	size_t len;
	int r = hoy_image_item(c->b.s, image, item, &data, &len, &c->b.err);

	if (r < 0)
		return r;
	hoy_base64(&text, data, len);
	return !text.error && hoy_json_set_string(&c->d, c->d.root, key, text.data) ? 0 : hoy_fail_oom(&c->b.err);
}

static int put_items(struct ctr *c, const struct hoy_json *rec)
{
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;
	const char *id = hoy_json_str(rec, "id") ?: "", *config;
	int r = hoy_image_manifest(c->b.s, rec, &man, &c->b.err);

	config = r ? NULL : hoy_json_str(hoy_json_get(man.root, "config"), "digest");
	if (!r && config)
		r = put_item(c, id, config, "config");
	return r ? r : put_item(c, id, "manifest", "manifest");
}

static int put_image(struct ctr *c, const struct state *s)
{
	const struct hoy_json *rec = hoy_image_get(c->b.s, s->image), *names = hoy_json_get(rec, "names");
	const char *name = s->name ?: names && names->child ? hoy_json_text(names->child) : NULL, *digest = hoy_json_str(rec, "digest") ?: "";
	struct hoy_json *root = c->d.root;

	if (!rec)
		return hoy_fail(&c->b.err, ENOENT, "image %.12s was removed meanwhile", s->image);
	if (!hoy_json_set_string(&c->d, root, "image", name ?: s->image) || !hoy_json_set_string(&c->d, root, "image-id", s->image) ||
	    !hoy_json_set_string(&c->d, root, "image-digest", digest) || !hoy_json_set_string(&c->d, root, "TopLayer", s->layer))
		return hoy_fail_oom(&c->b.err);
	return put_items(c, rec);
}

/* Those of the manifest alone. */
static int put_own_notes(struct ctr *c, const struct state *s)
{
	struct hoy_json *notes = hoy_json_get(c->d.root, "annotations");
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;
	int r = hoy_image_manifest(c->b.s, hoy_image_get(c->b.s, s->image), &man, &c->b.err);

	HOY_JSON_EACH(n, r ? NULL : hoy_json_get(man.root, "annotations"))
		if (hoy_json_text(n) && !hoy_json_set_string(&c->d, notes, n->key, n->str))
			return hoy_fail_oom(&c->b.err);
	return r;
}

/* Those of the manifest, and what the base is. */
static int put_notes(struct ctr *c, const struct state *s)
{
	struct hoy_json *notes = hoy_json_get(c->d.root, "annotations");

	if (*s->image)
		HOY_JSON_EACH(n, s->notes)
			if (hoy_json_text(n) && !hoy_json_set_string(&c->d, notes, n->key, n->str))
				return hoy_fail_oom(&c->b.err);
	return hoy_json_set_string(&c->d, notes, "org.opencontainers.image.base.digest", hoy_json_str(c->d.root, "image-digest") ?: "") &&
	       hoy_json_set_string(&c->d, notes, "org.opencontainers.image.base.name", hoy_json_str(c->d.root, "image") ?: "") ? 0 :
	       hoy_fail_oom(&c->b.err);
}

/* What only a container has. */
static bool put_unused(struct ctr *c, const struct state *s)
{
	static const char *const lists[] = { "Capabilities", "DeviceSpecs" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_json_unset(c->d.root, lists[i]);
	if (!hoy_json_path(s->base.root, "config", "OnBuild", NULL) &&
	    !hoy_json_put(&c->d, ctr_docker(c), "OnBuild", hoy_json_new(&c->d, HOY_JSON_NULL)))
		return false;
	return hoy_json_set_int(&c->d, c->d.root, "Isolation", ISOLATION_DEFAULT);
}

int ctr_describe(struct ctr *c, const struct state *s, const char *format)
{
	char host[HOY_ID_SIZE];
	int r = hoy_json_parse(&c->d, skeleton, sizeof(skeleton) - 1, "settings", &c->b.err);

	if (!r)
		r = fill_forms(c, *s->image ? s->base.root : NULL, !format);
	if (!r && *s->image)
		r = put_image(c, s);
	if (!r && !format)
		return put_unused(c, s) ? put_own_notes(c, s) : hoy_fail_oom(&c->b.err);
	if (!r)
		r = put_notes(c, s);
	if (!r && !hoy_json_set_string(&c->d, c->d.root, "Format", format))
		r = hoy_fail_oom(&c->b.err);
	if (!r && ctr_is_docker(c) && empty(hoy_json_get(ctr_docker(c), "Hostname"))) {
		if (hoy_random_id(host) < 0)
			return hoy_fail(&c->b.err, EIO, "cannot draw a random number");
		host[12] = '\0';
		r = hoy_json_set_string(&c->d, ctr_docker(c), "Hostname", host) ? 0 : hoy_fail_oom(&c->b.err);
	}
	return r;
}

int ctr_put_config(struct ctr *c, const struct hoy_json *config)
{
	HOY_JSON_EACH(m, config)
		if (!hoy_json_put(&c->d, ctr_docker(c), m->key, hoy_json_copy(&c->d, m)))
			return hoy_fail_oom(&c->b.err);
	return copy_keys(c, ctr_oci(c), config, oci_config_keys, ARRAY_SIZE(oci_config_keys));
}
