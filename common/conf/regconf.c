#include "common/conf/regconf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/conf/dropins.h"
#include "common/conf/toml.h"
#include "common/data/ref.h"

#define SYSTEM_FILE "/etc/containers/registries.conf"
#define BAD(err, ...) hoy_fail(err, HOY_EFORMAT, __VA_ARGS__)

/* ---- checking one file ---- */

static bool wildcard(const char *prefix) { return !strncmp(prefix, "*.", 2); }

/* The string KEY of TABLE ("" if it is not there), without slashes at its end. */
static int location(struct hoy_json_doc *doc, struct hoy_json *table, const char *key, const char **ret, struct hoy_err *err)
{
	struct hoy_json *v = hoy_json_get(table, key);
	cleanup_free char *text = NULL;
	size_t n;

	*ret = "";
	if (!v)
		return 0;
	if (!hoy_json_text(v))
		return BAD(err, "'%s' is not a string", key);
	n = v->len;
	while (n && v->str[n - 1] == '/')
		n--;
	if (!strncmp(v->str, "http://", 7) || !strncmp(v->str, "https://", 8))
		return BAD(err, "invalid location '%s': URI schemes are not supported", v->str);
	text = strndup(v->str, n);
	v = text ? hoy_json_set_string(doc, table, key, text) : NULL;
	*ret = v ? v->str : "";
	return v ? 0 : hoy_fail_oom(err);
}

static int check_mirror(struct hoy_json_doc *doc, struct hoy_json *mirror, const struct hoy_json *reg, struct hoy_err *err)
{
	const char *loc, *from = hoy_json_str(mirror, "pull-from-mirror");
	int r = location(doc, mirror, "location", &loc, err);

	if (r < 0)
		return r;
	if (!*loc)
		return BAD(err, "invalid condition: mirror location is unset");
	if (!from || !*from)
		return 0;
	if (hoy_json_bool(reg, "mirror-by-digest-only", false))
		return BAD(err, "cannot set mirror usage mirror-by-digest-only for the registry (\"%s\") and pull-from-mirror for per-mirror (\"%s\") at the same time",
			   hoy_json_str(reg, "prefix"), loc);
	if (strcmp(from, "all") && strcmp(from, "digest-only") && strcmp(from, "tag-only"))
		return BAD(err, "unsupported pull-from-mirror value \"%s\" for mirror \"%s\"", from, loc);
	return 0;
}

static int check_registry(struct hoy_json_doc *doc, struct hoy_json *reg, struct hoy_err *err)
{
	const char *loc, *prefix;
	struct hoy_json *mirrors = hoy_json_get(reg, "mirror");
	int r = location(doc, reg, "location", &loc, err);

	if (!r)
		r = location(doc, reg, "prefix", &prefix, err);
	if (r < 0)
		return r;
	if (!*prefix && !*loc)
		return BAD(err, "invalid condition: both location and prefix are unset");
	if (*prefix && !wildcard(prefix) && !*loc)
		return BAD(err, "invalid condition: location is unset and prefix is not in the format: *.example.com");
	if (!*prefix && !hoy_json_set_string(doc, reg, "prefix", loc))
		return hoy_fail_oom(err);
	prefix = hoy_json_str(reg, "prefix");
	if (wildcard(prefix) && strpbrk(prefix, "/@:"))
		return BAD(err, "Wildcarded prefix should be in the format: *.example.com. Current prefix \"%s\" is incorrectly formatted", prefix);
	if (hoy_json_str(reg, "pull-from-mirror"))
		return BAD(err, "pull-from-mirror must not be set for a non-mirror registry \"%s\"", prefix);
	for (struct hoy_json *m = mirrors ? mirrors->child : NULL; m && !r; m = m->next)
		r = check_mirror(doc, m, reg, err);
	return r;
}

/* What two tables say of one place must be the same. */
static int check_conflicts(const struct hoy_json *regs, struct hoy_err *err)
{
	static const char *const keys[] = { "insecure", "blocked" };

	HOY_JSON_EACH(a, regs) {
		const char *loc = hoy_json_str(a, "location");

		for (const struct hoy_json *b = a->next; b && loc && *loc; b = b->next)
			for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
				if (!strcmp(hoy_json_str(b, "location") ?: "", loc) &&
				    hoy_json_bool(a, keys[i], false) != hoy_json_bool(b, keys[i], false))
					return BAD(err, "registry '%s' is defined multiple times with conflicting '%s' setting", loc, keys[i]);
	}
	return 0;
}

/* "host.example:5000", "[::1]:5000". */
static bool is_host(const char *s)
{
	size_t n = *s == '[' ? strspn(s + 1, "0123456789abcdefABCDEF:.") + 2 : 0;

	if (n && s[n - 1] != ']')
		return false;
	if (!n)
		while (isalnum((unsigned char)s[n]) || (n && (s[n] == '.' || s[n] == '-') && isalnum((unsigned char)s[n + 1])) ||
		       (n && s[n] == '-' && s[n + 1] == '-'))
			n++;
	if (n && s[n] == ':' && isdigit((unsigned char)s[n + 1]))
		n += 1 + strspn(s + n + 1, "0123456789");
	return n && !s[n];
}

static int check_list(struct hoy_json_doc *doc, const char *key, bool hosts, struct hoy_err *err)
{
	struct hoy_json *list = hoy_json_get(doc->root, key), *clean;

	if (!list)
		return 0;
	if (!hoy_json_is(list, HOY_JSON_ARRAY))
		return BAD(err, "'%s' is not a list", key);
	clean = hoy_json_new(doc, HOY_JSON_ARRAY);
	if (!clean)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(it, list) {
		struct hoy_json *one = hoy_json_new(doc, HOY_JSON_OBJECT), *copy = hoy_json_copy(doc, it);
		const char *text;
		int r;

		if (!hoy_json_text(it))
			return BAD(err, "'%s' has something that is not a string", key);
		if (!one || !copy || !hoy_json_put(doc, one, "it", copy))
			return hoy_fail_oom(err);
		r = hosts ? location(doc, one, "it", &text, err) : 0;
		if (r < 0)
			return r;
		if (hosts && !is_host(text))
			return BAD(err, "Invalid unqualified-search-registries entry \"%s\"", text);
		copy = hoy_json_get(one, "it");
		hoy_json_remove(one, copy);
		if (!hoy_json_put(doc, clean, NULL, copy))
			return hoy_fail_oom(err);
	}
	return hoy_json_put(doc, doc->root, key, clean) ? 0 : hoy_fail_oom(err);
}

static int check_alias(struct hoy_json_doc *doc, struct hoy_json *aliases, const char *name, const char *value, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref from = HOY_REF_INIT, to = HOY_REF_INIT;
	cleanup_free char *repo = NULL;

	if (hoy_ref_parse(&from, name, err) < 0)
		return hoy_fail_prefix(err, "cannot parse short name: \"%s\"", name);
	if (from.tag || from.digest || from.domain)
		return BAD(err, "invalid short name \"%s\": must not contain %s", name, from.digest ? "digest" : from.tag ? "tag" : "registry");
	if (!*value) /* takes an alias back that another file has */
		return 0;
	if (hoy_ref_parse(&to, value, err) < 0)
		return hoy_fail_prefix(err, "parsing alias \"%s\"", value);
	if (to.digest || to.tag)
		return BAD(err, "invalid alias \"%s\": must not contain %s", value, to.digest ? "digest" : "tag");
	if (!to.domain)
		return BAD(err, "invalid alias \"%s\": must contain registry and repository", value);
	repo = hoy_ref_normalize(&to) < 0 ? NULL : hoy_ref_repo(&to);
	return repo && hoy_json_set_string(doc, aliases, name, repo) ? 0 : hoy_fail_oom(err);
}

static int check_aliases(struct hoy_json_doc *doc, struct hoy_err *err)
{
	struct hoy_json *aliases = hoy_json_get(doc->root, "aliases");
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	int r = 0;

	if (aliases && !hoy_json_is(aliases, HOY_JSON_OBJECT))
		return BAD(err, "'aliases' is not a table");
	HOY_JSON_EACH(a, aliases) {
		if (!hoy_json_text(a))
			return BAD(err, "the alias '%s' is not a string", a->key);
		hoy_strv_push(&names, a->key);
	}
	for (size_t i = 0; i < names.n && !r; i++)
		r = check_alias(doc, aliases, names.v[i], hoy_json_str(aliases, names.v[i]), err);
	return names.error ? hoy_fail_oom(err) : r < 0 ? hoy_fail_prefix(err, "validating short-name aliases") : 0;
}

/* Version 1: [registries.search], [registries.insecure] and [registries.block], lists of hosts. */
static int from_version_1(struct hoy_json_doc *doc, struct hoy_err *err)
{
	static const char *const keys[][2] = { { "block", "blocked" }, { "insecure", "insecure" } };
	struct hoy_json *old = hoy_json_get(doc->root, "registries"), *list = hoy_json_path(old, "search", "registries", NULL);
	struct hoy_json *regs = hoy_json_new(doc, HOY_JSON_ARRAY);

	if (!regs || (list && !hoy_json_put(doc, doc->root, "unqualified-search-registries", hoy_json_copy(doc, list))))
		return hoy_fail_oom(err);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		HOY_JSON_EACH(host, hoy_json_path(old, keys[i][0], "registries", NULL)) {
			struct hoy_json *reg = NULL;

			for (struct hoy_json *have = regs->child; have && hoy_json_text(host); have = have->next)
				if (!strcmp(hoy_json_str(have, "location"), host->str))
					reg = have;
			if (!reg)
				reg = hoy_json_put(doc, regs, NULL, hoy_json_new(doc, HOY_JSON_OBJECT));
			if (!reg || !hoy_json_set_string(doc, reg, "location", hoy_json_text(host) ?: "") || !hoy_json_set_bool(doc, reg, keys[i][1], true))
				return hoy_fail_oom(err);
		}
	return hoy_json_put(doc, doc->root, "registry", regs) ? 0 : hoy_fail_oom(err);
}

static int check_file(struct hoy_json_doc *doc, bool main_file, struct hoy_err *err)
{
	static const char *const version_2[] = { "registry", "unqualified-search-registries", "credential-helpers", "short-name-mode", "aliases",
						 "additional-layer-store-auth-helper" };
	const char *mode = hoy_json_str(doc->root, "short-name-mode");
	struct hoy_json *regs;
	int r = 0;

	if (hoy_json_is(hoy_json_get(doc->root, "registries"), HOY_JSON_OBJECT)) {
		if (!main_file)
			return BAD(err, "registry must be in v2 format but is in v1");
		for (size_t i = 0; i < ARRAY_SIZE(version_2); i++)
			if (hoy_json_get(doc->root, version_2[i]))
				return BAD(err, "mixing sysregistry v1/v2 is not supported ('registries' and '%s')", version_2[i]);
		r = from_version_1(doc, err);
	}
	if (mode && *mode && strcmp(mode, "enforcing") && strcmp(mode, "permissive") && strcmp(mode, "disabled"))
		return BAD(err, "invalid short-name mode: \"%s\"", mode);
	regs = hoy_json_get(doc->root, "registry");
	if (regs && !hoy_json_is(regs, HOY_JSON_ARRAY))
		return BAD(err, "'registry' is not a list of tables (write: [[registry]])");
	for (struct hoy_json *reg = regs ? regs->child : NULL; reg && !r; reg = reg->next)
		r = check_registry(doc, reg, err);
	if (!r)
		r = check_conflicts(regs, err);
	if (!r)
		r = check_list(doc, "unqualified-search-registries", true, err);
	if (!r)
		r = check_list(doc, "credential-helpers", false, err);
	return r ? r : check_aliases(doc, err);
}

int hoy_regconf_parse(struct hoy_json_doc *doc, const char *text, size_t len, const char *name, bool main_file, struct hoy_err *err)
{
	int r = hoy_toml_parse(doc, text, len, name, err);

	return r ? r : check_file(doc, main_file, err);
}

/* ---- reading ---- */

static int read_file(struct hoy_regfile *f, const char *path, bool main_file, struct hoy_err *err)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, HOY_CONF_MAX, &text, &len, err);

	if (!r)
		r = hoy_regconf_parse(&f->doc, text, len, path, main_file, err);
	if (!r && !(f->path = strdup(path)))
		r = hoy_fail_oom(err);
	return r;
}

static int add_file(struct hoy_regconf *c, const char *path, bool main_file, struct hoy_err *err)
{
	struct hoy_regfile *v = realloc(c->v, (c->n + 1) * sizeof(*v));
	int r;

	if (!v)
		return hoy_fail_oom(err);
	c->v = v;
	v[c->n] = (struct hoy_regfile){ NULL, HOY_JSON_DOC_INIT };
	r = read_file(&v[c->n], path, main_file, err);
	if (!r) {
		c->n++;
		return 0;
	}
	hoy_json_release(&v[c->n].doc);
	if (r == -ENOENT)
		return r;
	return hoy_fail_prefix(err, "loading %sregistries configuration \"%s\"", main_file ? "" : "drop-in ", path);
}

static int add_drop_ins(struct hoy_regconf *c, const char *dir, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv files = HOY_STRV_INIT;
	int r = hoy_dropins(&dir, 1, &files) < 0 ? hoy_fail_oom(err) : 0;

	/* One may have gone since it was listed. */
	for (size_t i = 0; i < files.n && (!r || r == -ENOENT); i++)
		r = add_file(c, files.v[i], false, err);
	return r == -ENOENT ? 0 : r;
}

/* Where the answers to prompts are kept. */
static char *answers_path(void)
{
	cleanup_free char *home = NULL;
	const char *cache = getenv("XDG_CACHE_HOME");

	if (!hoy_rootless())
		return strdup("/var/cache/containers/short-name-aliases.conf");
	if (cache && *cache)
		return hoy_path_join(cache, "containers/short-name-aliases.conf");
	home = hoy_home();
	return home ? hoy_path_join(home, ".cache/containers/short-name-aliases.conf") : NULL;
}

static int read_answers(struct hoy_regfile *f, struct hoy_err *err)
{
	cleanup_free char *path = answers_path();
	int r = path ? hoy_toml_load(&f->doc, path, err) : hoy_fail_oom(err);

	if (!r)
		r = check_aliases(&f->doc, err);
	if (r < 0 && r != -ENOENT)
		return hoy_fail_prefix(err, "loading short-name aliases config file \"%s\"", path ? path : "");
	f->path = steal_ptr(&path);
	return 0;
}

int hoy_regconf_load(struct hoy_regconf *c, struct hoy_err *err)
{
	const char *env = getenv("CONTAINERS_REGISTRIES_CONF") ?: getenv("REGISTRIES_CONFIG_PATH");
	cleanup_free char *home = hoy_home(), *user = home ? hoy_path_join(home, ".config/containers/registries.conf") : NULL;
	cleanup_free char *user_d = home ? hoy_path_join(home, ".config/containers/registries.conf.d") : NULL;
	struct hoy_err none = HOY_ERR_INIT;
	bool named = env && *env, own;
	int r;

	if (!user || !user_d)
		return hoy_fail_oom(err);
	own = !named && !access(user, F_OK);
	r = add_file(c, named ? env : own ? user : SYSTEM_FILE, true, named ? err : &none);
	if (r == -ENOENT && !named)
		r = 0;
	else if (r < 0 && !named && err)
		*err = none;
	else if (r == -ENOENT)
		return hoy_fail_prefix(err, "loading registries configuration \"%s\"", env);
	/* A user who has a configuration has it whole. */
	if (!r && !own)
		r = add_drop_ins(c, "/etc/containers/registries.conf.d", err);
	if (!r)
		r = add_drop_ins(c, user_d, err);
	return r ? r : read_answers(&c->answers, err);
}

void hoy_regconf_release(struct hoy_regconf *c)
{
	for (size_t i = 0; i < c->n; i++) {
		hoy_json_release(&c->v[i].doc);
		free(c->v[i].path);
	}
	hoy_json_release(&c->answers.doc);
	free(c->answers.path);
	free(c->v);
	*c = (struct hoy_regconf)HOY_REGCONF_INIT;
}

/* ---- asking ---- */

/* How much of REF the prefix P stands for; 0: it is not REF's. (A host stands for itself with a port too, as podman has it.) */
static size_t covers(const char *p, const char *ref)
{
	size_t len = strlen(p);
	const char *at;

	if (wildcard(p)) {
		at = strstr(ref, p + 1);
		if (!at || memchr(ref, '/', at - ref))
			return 0;
		len = at - ref + strlen(p + 1);
	} else if (strncmp(ref, p, len)) {
		return 0;
	}
	return !ref[len] || strchr(":/@", ref[len]) ? len : 0;
}

const struct hoy_json *hoy_regconf_registry(const struct hoy_regconf *c, const char *ref, size_t *ret_len, const char **ret_file)
{
	const struct hoy_json *best = NULL;
	const char *best_prefix = "";

	/* Of the same prefix the last file's, and in it the first. */
	for (size_t i = c->n; i; i--)
		HOY_JSON_EACH(reg, hoy_json_get(c->v[i - 1].doc.root, "registry")) {
			const char *prefix = hoy_json_str(reg, "prefix");
			size_t len = covers(prefix, ref);

			if (!len || strlen(prefix) < strlen(best_prefix) ||
			    (strlen(prefix) == strlen(best_prefix) && strcmp(prefix, best_prefix) >= 0))
				continue;
			best = reg;
			best_prefix = prefix;
			*ret_len = len;
			if (ret_file)
				*ret_file = c->v[i - 1].path;
		}
	return best;
}

const char *hoy_regconf_alias(const struct hoy_regconf *c, const char *name, const char **ret_file)
{
	for (size_t i = c->n + 1; i; i--) {
		const struct hoy_regfile *f = i > c->n ? &c->answers : &c->v[i - 1];
		const char *value = hoy_json_str(hoy_json_get(f->doc.root, "aliases"), name);

		if (!value)
			continue;
		if (ret_file)
			*ret_file = f->path;
		return *value ? value : NULL;
	}
	return NULL;
}

const struct hoy_json *hoy_regconf_list(const struct hoy_regconf *c, const char *key, const char **ret_file)
{
	for (size_t i = c->n; i; i--) {
		const struct hoy_json *list = hoy_json_get(c->v[i - 1].doc.root, key);

		if (!list)
			continue;
		if (ret_file)
			*ret_file = c->v[i - 1].path;
		return list;
	}
	return NULL;
}

const char *hoy_regconf_short_names(const struct hoy_regconf *c, const char **ret_file)
{
	for (size_t i = c->n; i; i--) {
		const char *mode = hoy_json_str(c->v[i - 1].doc.root, "short-name-mode");

		if (!mode || !*mode)
			continue;
		if (ret_file)
			*ret_file = c->v[i - 1].path;
		return mode;
	}
	return "permissive";
}

/* ---- lines, for people ---- */

/* How far TEXT goes on with KEY, bare or in quotes; 0: it doesn't. */
static size_t key_at(const char *text, const char *key)
{
	size_t quote = *text == '"' || *text == '\'', n = strlen(key);

	if (strncmp(text + quote, key, n) || (quote && text[quote + n] != *text))
		return 0;
	n += 2 * quote;
	return strspn(text + n, " \t") + n;
}

/*
 * The line of FILE where the NTH "[[TABLE]]" begins, or (KEY) where KEY is set: in "[TABLE]", or (TABLE NULL) before any table.
 * Only usual spelling is understood.
 */
static unsigned line_of(const char *file, const char *table, unsigned nth, const char *key)
{
	cleanup_free char *text = NULL;
	bool inside = !table;
	unsigned number = 0;
	size_t len;

	if (hoy_read_file(AT_FDCWD, file, HOY_CONF_MAX, &text, &len, NULL) < 0)
		return 0;
	for (char *line = text, *next; line; line = next) {
		char *end = strchr(line, '\n');
		size_t n;

		next = end ? end + 1 : NULL;
		if (end)
			*end = '\0';
		number++;
		line += strspn(line, " \t");
		if (*line == '[') {
			size_t open = strspn(line, "[");
			char *name = line + open + strspn(line + open, " \t");

			n = table ? key_at(name, table) : 0;
			inside = n && name[n] == ']' && open == (key ? 1 : 2);
			if (inside && !key && !nth--)
				return number;
		} else if (inside && key && (n = key_at(line, key)) && line[n] == '=') {
			return number;
		}
	}
	return 0;
}

unsigned hoy_regconf_registry_line(const struct hoy_regconf *c, const struct hoy_json *reg)
{
	for (size_t i = 0; i < c->n; i++) {
		unsigned nth = 0;

		HOY_JSON_EACH(r, hoy_json_get(c->v[i].doc.root, "registry")) {
			if (r == reg)
				return line_of(c->v[i].path, "registry", nth, NULL);
			nth++;
		}
	}
	return 0;
}

unsigned hoy_regconf_alias_line(const char *file, const char *name) { return line_of(file, "aliases", 0, name); }
unsigned hoy_regconf_key_line(const char *file, const char *key) { return line_of(file, NULL, 0, key); }

/* ---- writing answers ---- */

static void put_string(struct hoy_buf *b, const char *s)
{
	hoy_buf_putc(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			hoy_buf_putc(b, '\\');
		hoy_buf_putc(b, *s);
	}
	hoy_buf_putc(b, '"');
}

static bool bare(const char *key) { return *key && !key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")]; }

/* The table as Go's library writes it: keys in order, in quotes only where they have to be. */
static int write_answers(const struct hoy_json *aliases, int dirfd, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_CONF_MAX);
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	int r;

	HOY_JSON_EACH(a, aliases)
		hoy_strv_push(&names, a->key);
	hoy_strv_sort(&names);
	hoy_buf_puts(&b, "[aliases]\n");
	for (size_t i = 0; i < names.n; i++) {
		hoy_buf_puts(&b, "  ");
		if (bare(names.v[i]))
			hoy_buf_puts(&b, names.v[i]);
		else
			put_string(&b, names.v[i]);
		hoy_buf_puts(&b, " = ");
		put_string(&b, hoy_json_str(aliases, names.v[i]) ?: "");
		hoy_buf_putc(&b, '\n');
	}
	r = b.error || names.error ? -ENOMEM : hoy_replace_file(dirfd, "short-name-aliases.conf", b.data, b.len, 0600, true);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write 'short-name-aliases.conf'") : 0;
}

int hoy_regconf_answer(const char *name, const char *repo, struct hoy_err *err)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct hoy_regfile f = { NULL, HOY_JSON_DOC_INIT };
	cleanup_free char *path = answers_path();
	cleanup_fd int dir = -1, lock = -1;
	struct hoy_json *aliases;
	int r = 0;

	if (!path)
		return hoy_fail_oom(err);
	*strrchr(path, '/') = '\0';
	dir = hoy_open_dir_p(AT_FDCWD, path, 0700);
	if (dir < 0)
		return hoy_fail_errno(err, -dir, "cannot make the directory '%s'", path);
	lock = openat(dir, "short-name-aliases.conf.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	while (lock >= 0 && (r = fcntl(lock, F_OFD_SETLKW, &whole)) < 0 && errno == EINTR)
		;
	if (lock < 0 || r < 0)
		return hoy_fail_errno(err, errno, "cannot lock '%s/short-name-aliases.conf.lock'", path);
	r = read_answers(&f, err);
	if (!r && !f.doc.root && !(f.doc.root = hoy_json_new(&f.doc, HOY_JSON_OBJECT)))
		r = hoy_fail_oom(err);
	aliases = r ? NULL : hoy_json_need(&f.doc, f.doc.root, "aliases", HOY_JSON_OBJECT);
	if (!r && (!aliases || !hoy_json_set_string(&f.doc, aliases, name, repo)))
		r = hoy_fail_oom(err);
	if (!r)
		r = write_answers(aliases, dir, err);
	hoy_json_release(&f.doc);
	free(f.path);
	return r;
}
