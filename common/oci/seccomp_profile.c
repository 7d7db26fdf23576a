/* Profiles in the format of docker and podman: one file for all machines and capabilities, reduced to what holds here. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/base/err.h"
#include "common/data/json.h"
#include "common/oci/caps.h"
#include "common/oci/seccomp.h"

/* uname's name, Go's name, libseccomp's name. */
static const struct { const char *machine, *go, *scmp; } names[] = {
	{ "x86_64", "amd64", "SCMP_ARCH_X86_64" },    { "aarch64", "arm64", "SCMP_ARCH_AARCH64" },
	{ "i686", "386", "SCMP_ARCH_X86" },	      { "armv7l", "arm", "SCMP_ARCH_ARM" },
	{ "ppc64le", "ppc64le", "SCMP_ARCH_PPC64LE" }, { "s390x", "s390x", "SCMP_ARCH_S390X" },
	{ "riscv64", "riscv64", "SCMP_ARCH_RISCV64" }, { "mips64", "mips64", "SCMP_ARCH_MIPS64" },
};

const char *hoy_seccomp_machine(const struct hoy_seccomp_target *t)
{
	static struct utsname u;

	if (t->machine)
		return t->machine;
	return *u.machine || !uname(&u) ? u.machine : "";
}

static bool has_string(const struct hoy_json *list, const char *s)
{
	HOY_JSON_EACH(e, list)
		if (hoy_json_text(e) && !strcmp(e->str, s))
			return true;
	return false;
}

/* How many of LIST are among CAPS. */
static unsigned count_caps(const struct hoy_json *list, uint64_t caps)
{
	unsigned n = 0;

	HOY_JSON_EACH(e, list) {
		uint64_t cap = 0;

		n += hoy_json_text(e) && !hoy_caps_parse(e->str, &cap, NULL) && (caps & cap);
	}
	return n;
}

static bool kernel_at_least(const char *version)
{
	unsigned want[2] = { 0, 0 }, have[2] = { 0, 0 };
	struct utsname u;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &have[0], &have[1]) < 1 ||
	    sscanf(version, "%u.%u", &want[0], &want[1]) < 1)
		return false;
	return have[0] != want[0] ? have[0] > want[0] : have[1] >= want[1];
}

static bool applies(const struct hoy_json *rule, const char *arch, uint64_t caps)
{
	const struct hoy_json *in = hoy_json_get(rule, "includes"), *ex = hoy_json_get(rule, "excludes");
	const struct hoy_json *arches = hoy_json_get(in, "arches"), *need = hoy_json_get(in, "caps");

	if (arches && arches->count && !has_string(arches, arch))
		return false;
	if (need && count_caps(need, caps) != need->count)
		return false;
	if (hoy_json_str(in, "minKernel") && !kernel_at_least(hoy_json_str(in, "minKernel")))
		return false;
	if (has_string(hoy_json_get(ex, "arches"), arch) || count_caps(hoy_json_get(ex, "caps"), caps))
		return false;
	return !hoy_json_str(ex, "minKernel") || !kernel_at_least(hoy_json_str(ex, "minKernel"));
}

static void carry(struct hoy_jw *w, const struct hoy_json *from, const char *key)
{
	const struct hoy_json *v = hoy_json_get(from, key);

	if (v && v->type != HOY_JSON_NULL && !((v->type == HOY_JSON_ARRAY || v->type == HOY_JSON_STRING) && !v->count && !v->len))
		hoy_jw_value(w, key, v);
}

static void write_rule(struct hoy_jw *w, const struct hoy_json *rule)
{
	hoy_jw_object(w, NULL);
	if (hoy_json_str(rule, "name")) {
		/* The oldest form: one name per rule. */
		hoy_jw_array(w, "names");
		hoy_jw_string(w, NULL, hoy_json_str(rule, "name"));
		hoy_jw_end_array(w);
	} else {
		carry(w, rule, "names");
	}
	carry(w, rule, "action");
	carry(w, rule, "errnoRet");
	carry(w, rule, "args");
	hoy_jw_end_object(w);
}

static void write_arches(struct hoy_jw *w, const struct hoy_json *profile, const char *scmp)
{
	if (hoy_json_get(profile, "architectures") && hoy_json_get(profile, "architectures")->count) {
		carry(w, profile, "architectures");
		return;
	}
	HOY_JSON_EACH(m, hoy_json_get(profile, "archMap")) {
		const char *arch = hoy_json_str(m, "architecture");

		if (!arch || strcmp(arch, scmp))
			continue;
		hoy_jw_array(w, "architectures");
		hoy_jw_string(w, NULL, arch);
		HOY_JSON_EACH(s, hoy_json_get(m, "subArchitectures"))
			hoy_jw_value(w, NULL, s);
		hoy_jw_end_array(w);
		return;
	}
}

int hoy_seccomp_profile(struct hoy_jw *w, const char *key, const struct hoy_json *profile,
			const struct hoy_seccomp_target *t, struct hoy_err *err)
{
	static const char *const as_is[] = { "defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata" };
	const char *machine = hoy_seccomp_machine(t), *go = machine, *scmp = "";

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i].machine, machine)) {
			go = names[i].go;
			scmp = names[i].scmp;
		}
	if (!hoy_json_str(profile, "defaultAction"))
		return hoy_fail(err, EINVAL, "the seccomp profile has no defaultAction");
	if (hoy_json_get(profile, "architectures") && hoy_json_get(profile, "architectures")->count &&
	    hoy_json_get(profile, "archMap") && hoy_json_get(profile, "archMap")->count)
		return hoy_fail(err, EINVAL, "the seccomp profile has both architectures and archMap");
	hoy_jw_object(w, key);
	for (size_t i = 0; i < ARRAY_SIZE(as_is); i++)
		carry(w, profile, as_is[i]);
	write_arches(w, profile, scmp);
	hoy_jw_array(w, "syscalls");
	HOY_JSON_EACH(rule, hoy_json_get(profile, "syscalls"))
		if (applies(rule, go, t->caps))
			write_rule(w, rule);
	hoy_jw_end_array(w);
	hoy_jw_end_object(w);
	return 0;
}
