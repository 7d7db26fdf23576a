/* cmd-build/mountspec.c: the grammar of --mount. */
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/mounts.h"
#include "common/base/err.h"

static const char *const types[] = { "bind", "cache", "tmpfs", "secret", "ssh" };
static const char *const propagations[] = { "shared", "rshared", "private", "rprivate", "slave", "rslave" };

#define BIND (1 << MOUNT_BIND)
#define CACHE (1 << MOUNT_CACHE)
#define TMPFS (1 << MOUNT_TMPFS)
#define SECRET (1 << MOUNT_SECRET)
#define SSH (1 << MOUNT_SSH)
#define FILES (BIND | CACHE)

struct key {
	const char *name;
	unsigned types;
	int (*take)(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err);
	size_t at; /* of what is filled */
	const char *option;
};

static int needs_value(const struct key *k, struct hoy_err *err)
{
	return hoy_fail(err, EINVAL, "--mount: %s: must provide an argument for option", k->name);
}

static int take_text(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	char **field = (char **)((char *)m + k->at);

	if (!value || !*value)
		return needs_value(k, err);
	free(*field);
	*field = strdup(value);
	return *field ? 0 : hoy_fail_oom(err);
}

/* "required", "required=true" */
static int parse_bool(const struct key *k, const char *value, bool *ret, struct hoy_err *err)
{
	bool on = !value || !strcmp(value, "true") || !strcmp(value, "1");

	if (!on && strcmp(value, "false") && strcmp(value, "0"))
		return hoy_fail(err, EINVAL, "--mount: %s must be true or false, not '%s'", k->name, value);
	*ret = on;
	return 0;
}

static int take_flag(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	return parse_bool(k, value, (bool *)((char *)m + k->at), err);
}

static int take_access(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	bool on = true, write = k->option != NULL;
	int r = parse_bool(k, value, &on, err);

	m->access = on == write ? ACCESS_WRITE : ACCESS_READ;
	return r;
}

static int take_option(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	if (value)
		return hoy_fail(err, EINVAL, "--mount: %s: must not provide an argument for option", k->name);
	hoy_strv_push(&m->options, k->option ?: k->name);
	return 0;
}

/* An option with a value: size=1m */
static int take_setting(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	if (!value || !*value)
		return needs_value(k, err);
	hoy_strv_pushf(&m->options, "%s=%s", k->option, value);
	return 0;
}

static int take_number(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	bool mode = k->at == offsetof(struct mount_spec, mode);
	unsigned long n;
	char *end;

	if (!value || !*value)
		return needs_value(k, err);
	errno = 0;
	n = strtoul(value, &end, mode ? 8 : 10);
	if (!isdigit((unsigned char)*value) || *end || errno || n > (mode ? 07777 : 0x7fffffffUL))
		return hoy_fail(err, EINVAL, "--mount: unable to parse %s '%s'", k->name, value);
	*(unsigned *)((char *)m + k->at) = (unsigned)n;
	m->has_mode = m->has_mode || mode;
	return 0;
}

static int take_sharing(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	static const char *const names[] = { "shared", "private", "locked" };

	if (!value || !*value)
		return needs_value(k, err);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], value)) {
			m->sharing = (enum mount_sharing)i;
			return 0;
		}
	return hoy_fail(err, EINVAL, "--mount: unrecognized value \"%s\" for field `sharing`", value);
}

static int take_propagation(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	for (size_t i = 0; value && i < ARRAY_SIZE(propagations); i++)
		if (!strcmp(propagations[i], value)) {
			hoy_strv_push(&m->options, value);
			return 0;
		}
	return hoy_fail(err, EINVAL, "--mount: %s: '%s': invalid mount option", k->name, value ?: "");
}

static int take_relabel(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err)
{
	if (!value || (strcmp(value, "private") && strcmp(value, "shared")))
		return hoy_fail(err, EINVAL, "--mount: %s mount option must be 'private' or 'shared'", k->name);
	hoy_strv_push(&m->options, *value == 'p' ? "Z" : "z");
	return 0;
}

/* Of other systems: docker says that it means nothing here. */
static int take_nothing(struct mount_spec *m, const struct key *k, const char *value, struct hoy_err *err) { return value ? 0 : needs_value(k, err); }

#define AT(field) offsetof(struct mount_spec, field)
static const struct key keys[] = {
	{ "bind-nonrecursive", BIND, take_flag, AT(alone), NULL },
	{ "bind-propagation", FILES, take_propagation, 0, NULL },
	{ "consistency", BIND, take_nothing, 0, NULL },
	{ "destination", ~0U, take_text, AT(target), NULL },
	{ "dst", ~0U, take_text, AT(target), NULL },
	{ "env", SECRET, take_text, AT(env), NULL },
	{ "from", FILES, take_text, AT(from), NULL },
	{ "gid", CACHE | SECRET | SSH, take_number, AT(gid), NULL },
	{ "id", CACHE | SECRET | SSH, take_text, AT(id), NULL },
	{ "mode", CACHE | SECRET | SSH, take_number, AT(mode), NULL },
	{ "nodev", FILES | TMPFS, take_option, 0, NULL },
	{ "noexec", FILES | TMPFS, take_option, 0, NULL },
	{ "nosuid", FILES | TMPFS, take_option, 0, NULL },
	{ "private", FILES, take_option, 0, NULL },
	{ "readonly", FILES | TMPFS, take_access, 0, NULL },
	{ "readwrite", FILES, take_access, 0, "rw" },
	{ "relabel", BIND, take_relabel, 0, NULL },
	{ "required", SECRET | SSH, take_flag, AT(required), NULL },
	{ "ro", FILES | TMPFS, take_access, 0, NULL },
	{ "rprivate", FILES, take_option, 0, NULL },
	{ "rshared", FILES, take_option, 0, NULL },
	{ "rslave", FILES, take_option, 0, NULL },
	{ "rw", FILES, take_access, 0, "rw" },
	{ "shared", FILES, take_option, 0, NULL },
	{ "sharing", CACHE, take_sharing, 0, NULL },
	{ "size", TMPFS, take_setting, 0, "size" },
	{ "slave", FILES, take_option, 0, NULL },
	{ "source", FILES, take_text, AT(source), NULL },
	{ "src", FILES, take_text, AT(source), NULL },
	{ "target", ~0U, take_text, AT(target), NULL },
	{ "tmpcopyup", TMPFS, take_option, 0, NULL },
	{ "tmpfs-mode", TMPFS, take_setting, 0, "mode" },
	{ "tmpfs-size", TMPFS, take_setting, 0, "size" },
	{ "U", FILES, take_option, 0, NULL },
	{ "uid", CACHE | SECRET | SSH, take_number, AT(uid), NULL },
	{ "Z", FILES, take_option, 0, NULL },
	{ "z", FILES, take_option, 0, NULL },
};

void mount_spec_release(struct mount_spec *m)
{
	free(m->id);
	free(m->from);
	free(m->source);
	free(m->target);
	free(m->env);
	hoy_strv_release(&m->options);
	*m = (struct mount_spec){ .options = HOY_STRV_INIT };
}

static int take_type(struct mount_spec *m, const struct hoy_strv *words, struct hoy_err *err)
{
	const char *name = "bind";

	for (size_t i = 0; i < words->n; i++)
		if (!strncmp(words->v[i], "type=", 5))
			name = words->v[i] + 5;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i], name)) {
			m->type = (enum mount_type)i;
			return 0;
		}
	return hoy_fail(err, EINVAL, "--mount: invalid mount type \"%s\"", name);
}

static int take_word(struct mount_spec *m, const char *word, struct hoy_err *err)
{
	size_t len = strcspn(word, "=");

	if (!strncmp(word, "type=", 5))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].name) == len && !strncmp(keys[i].name, word, len) && (keys[i].types & (1U << m->type)))
			return keys[i].take(m, &keys[i], word[len] ? word + len + 1 : NULL, err);
	return hoy_fail(err, EINVAL, "--mount: %.*s: invalid mount option of type %s", (int)len, word, types[m->type]);
}

static int complete(struct mount_spec *m, const char *workdir, struct hoy_err *err)
{
	char *clean;

	if (m->type == MOUNT_SECRET && !m->id)
		return hoy_fail(err, EINVAL, "--mount: secret should have syntax id=id[,target=path,required=bool,mode=uint,uid=uint,gid=uint,env=name]");
	if (!m->target && m->type != MOUNT_SECRET && m->type != MOUNT_SSH)
		return hoy_fail(err, EINVAL, "--mount: must set volume destination");
	if (!m->target)
		return 0;
	clean = join_clean(workdir, m->target);
	free(m->target);
	m->target = clean;
	if (!clean)
		return hoy_fail_oom(err);
	return clean[1] ? 0 : hoy_fail(err, EINVAL, "--mount: the target cannot be /");
}

int mount_spec_parse(struct mount_spec *ret, const char *text, const char *workdir, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	struct mount_spec m = { .options = HOY_STRV_INIT };
	int r;

	hoy_strv_split(&words, text, ',');
	r = words.error ? hoy_fail_oom(err) : take_type(&m, &words, err);
	for (size_t i = 0; i < words.n && !r; i++)
		r = take_word(&m, words.v[i], err);
	if (!r)
		r = complete(&m, workdir, err);
	if (!r && m.options.error)
		r = hoy_fail_oom(err);
	if (r < 0)
		mount_spec_release(&m);
	else
		*ret = m;
	return r;
}
