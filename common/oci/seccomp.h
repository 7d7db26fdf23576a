/* common/oci/seccomp.h: which system calls a container may make, as the linux.seccomp object of its config.json. */
#pragma once
#include <stdint.h>

struct hoy_err;
struct hoy_json;
struct hoy_jw;

/* The machine that a profile is for, by uname(2)'s name ("x86_64", "aarch64"); NULL: this one. */
struct hoy_seccomp_target {
	const char *machine;
	uint64_t caps; /* capabilities that the process may have (its bounding set) */
};

/* Write our own default profile under KEY. */
void hoy_seccomp_default(struct hoy_jw *w, const char *key, const struct hoy_seccomp_target *t);
/*
 * Write what PROFILE means for T under KEY. PROFILE is a parsed file in the format of docker and podman: archMap,
 * and rules with includes and excludes by capability, architecture and kernel. 0, or -EINVAL with its reason.
 */
int hoy_seccomp_profile(struct hoy_jw *w, const char *key, const struct hoy_json *profile,
			const struct hoy_seccomp_target *t, struct hoy_err *err);
/* The machine of T by its name. */
const char *hoy_seccomp_machine(const struct hoy_seccomp_target *t);
