#include "cmd-build/platform.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/strv.h"
#include "common/data/json.h"

static const char *const systems[] = { "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux",
				       "netbsd", "openbsd", "plan9", "solaris", "wasip1", "windows" };

/* Architectures as kernels and people call them, and as images do. */
static const struct { const char *name, *arch, *variant; } spellings[] = {
	{ "i386", "386", "" },	     { "i486", "386", "" },	   { "i586", "386", "" },     { "i686", "386", "" },	{ "x86_64", "amd64", "" },
	{ "x86-64", "amd64", "" },   { "aarch64", "arm64", "" },   { "armhf", "arm", "v7" },  { "armel", "arm", "v6" }, { "armv7l", "arm", "v7" },
	{ "armv6l", "arm", "v6" },   { "loongarch64", "loong64", "" },
};
static const char *const architectures[] = { "386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64",
					     "ppc64le", "riscv64", "s390x", "wasm" };

static bool among(const char *const *list, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], s))
			return true;
	return false;
}

static bool lower(char *to, size_t size, const char *from)
{
	size_t len = strlen(from);

	for (size_t i = 0; i < len && i < size; i++) {
		if (!isalnum((unsigned char)from[i]) && !strchr("-_.", from[i]))
			return false;
		to[i] = (char)tolower((unsigned char)from[i]);
	}
	if (len >= size)
		return false;
	to[len] = '\0';
	return true;
}

/* The variant that an architecture has anyway is none. */
static void normal(struct platform *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++)
		if (!strcmp(p->arch, spellings[i].name)) {
			snprintf(p->arch, sizeof(p->arch), "%s", spellings[i].arch);
			if (!*p->variant)
				snprintf(p->variant, sizeof(p->variant), "%s", spellings[i].variant);
			break;
		}
	if (!strcmp(p->os, "macos"))
		snprintf(p->os, sizeof(p->os), "darwin");
	if (!strcmp(p->arch, "arm") && !*p->variant)
		snprintf(p->variant, sizeof(p->variant), "v7");
	if (isdigit((unsigned char)*p->variant) && !p->variant[1] && !strncmp(p->arch, "arm", 3))
		snprintf(p->variant, sizeof(p->variant), "v%c", *strdupa(p->variant));
	if (!strcmp(p->arch, "amd64") && !strcmp(p->variant, "v1"))
		*p->variant = '\0';
}

void platform_here(struct platform *ret)
{
	struct utsname u;

	uname(&u);
	*ret = (struct platform){ .os = "linux" };
	lower(ret->arch, sizeof(ret->arch), u.machine);
	normal(ret);
}

int platform_of(struct platform *ret, const char *os, const char *arch, const char *variant, struct hoy_err *err)
{
	struct platform p;

	platform_here(&p);
	if (arch)
		*p.variant = '\0';
	if ((os && *os && !lower(p.os, sizeof(p.os), os)) || (arch && *arch && !lower(p.arch, sizeof(p.arch), arch)) ||
	    (variant && !lower(p.variant, sizeof(p.variant), variant)))
		return hoy_fail(err, EINVAL, "invalid platform: os \"%s\", architecture \"%s\", variant \"%s\"", os ?: "", arch ?: "", variant ?: "");
	normal(&p);
	*ret = p;
	return 0;
}

/* One word is a system or an architecture. */
static int of_word(struct platform *ret, const char *word, const char *text, struct hoy_err *err)
{
	struct platform p;

	platform_of(&p, NULL, NULL, NULL, NULL);
	if (!lower(p.arch, sizeof(p.arch), word))
		return hoy_fail(err, EINVAL, "invalid platform syntax for --platform=\"%s\": \"%s\": cannot parse platform specifier: invalid argument", text, text);
	if (among(systems, ARRAY_SIZE(systems), p.arch) || !strcmp(p.arch, "macos"))
		return platform_of(ret, word, NULL, NULL, err);
	*p.variant = '\0';
	normal(&p);
	if (!among(architectures, ARRAY_SIZE(architectures), p.arch))
		return hoy_fail(err, EINVAL, "invalid platform syntax for --platform=\"%s\": \"%s\": unknown operating system or architecture: invalid argument", text, text);
	*ret = p;
	return 0;
}

int platform_parse(struct platform *ret, const char *text, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;
	const char *s = text + strspn(text, "/");
	cleanup_free char *bare = strndup(s, strlen(s));

	if (!bare)
		return hoy_fail_oom(err);
	for (size_t n = strlen(bare); n && bare[n - 1] == '/'; n--)
		bare[n - 1] = '\0';
	hoy_strv_split(&parts, bare, '/');
	if (!parts.n || (parts.n == 1 && !strcmp(parts.v[0], "local"))) {
		platform_here(ret);
		return 0;
	}
	if (parts.n == 1)
		return of_word(ret, parts.v[0], bare, err);
	if (parts.n > 3 || hoy_strv_has(&parts, "") ||
	    platform_of(ret, parts.v[0], parts.v[1], parts.n == 3 ? parts.v[2] : NULL, NULL) < 0)
		return hoy_fail(err, EINVAL, "invalid platform syntax for --platform=\"%s\": \"%s\": cannot parse platform specifier: invalid argument", bare, bare);
	return 0;
}

const char *platform_text(const struct platform *p, char buf[PLATFORM_SIZE])
{
	snprintf(buf, PLATFORM_SIZE, "%s/%s%s%s", p->os, p->arch, *p->variant ? "/" : "", p->variant);
	return buf;
}

bool platform_same(const struct platform *a, const struct platform *b)
{
	return !strcmp(a->os, b->os) && !strcmp(a->arch, b->arch) && !strcmp(a->variant, b->variant);
}

bool platform_runs(const struct platform *p)
{
	static const char *const natives[][2] = { { "amd64", "386" }, { "arm64", "arm" } };
	static const char *const emulated[][2] = { { "amd64", "x86_64" }, { "arm64", "aarch64" }, { "386", "i386" }, { "loong64", "loongarch64" } };
	const char *name = p->arch;
	struct platform here;
	char path[96];

	platform_here(&here);
	if (!strcmp(here.arch, p->arch))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(natives); i++)
		if (!strcmp(here.arch, natives[i][0]) && !strcmp(p->arch, natives[i][1]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(emulated); i++)
		if (!strcmp(p->arch, emulated[i][0]))
			name = emulated[i][1];
	snprintf(path, sizeof(path), "/proc/sys/fs/binfmt_misc/qemu-%s", name);
	return !access(path, F_OK);
}

bool platform_fits(const struct platform *p, const struct hoy_json *o)
{
	const char *os = hoy_json_str(o, "os"), *arch = hoy_json_str(o, "architecture"), *variant = hoy_json_str(o, "variant");
	struct platform is;

	if (platform_of(&is, os, arch, variant, NULL) < 0 || (os && strcmp(is.os, p->os)) || (arch && strcmp(is.arch, p->arch)))
		return false;
	return !variant || !*variant || !*p->variant || !strcmp(is.variant, p->variant);
}

void platform_vars(struct hoy_strv *vars, const struct platform *p)
{
	static const char *const sides[] = { "BUILD", "TARGET" };
	struct platform here;
	const struct platform *of[] = { &here, p };
	char key[32], text[PLATFORM_SIZE];

	platform_here(&here);
	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		const char *const parts[][2] = { { "PLATFORM", platform_text(of[i], text) }, { "OS", of[i]->os }, { "ARCH", of[i]->arch },
						 { "VARIANT", of[i]->variant } };

		for (size_t k = 0; k < ARRAY_SIZE(parts); k++) {
			snprintf(key, sizeof(key), "%s%s", sides[i], parts[k][0]);
			hoy_env_set(vars, key, parts[k][1]);
		}
	}
}
