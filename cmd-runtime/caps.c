#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "cmd-runtime/runtime.h"
#include "common/oci/caps.h"

int caps_last(void)
{
	static int last = -1;

	if (last < 0)
		for (last = 20; last < 63 && prctl(PR_CAPBSET_READ, last + 1, 0, 0, 0) >= 0; last++)
			;
	return last;
}

int caps_parse(const struct hoy_json *list, uint64_t *ret, struct hoy_err *err)
{
	uint64_t mask = 0;

	HOY_JSON_EACH(c, list) {
		const char *name = hoy_json_text(c);

		/* As the specification demands: what is unknown here is no error. */
		if (!name || strncasecmp(name, "CAP_", 4) || hoy_caps_parse(name, &mask, NULL) < 0)
			log_warning("capability '%s' is unknown, ignoring", name ? name : "");
	}
	*ret = mask;
	return 0;
}

int caps_drop_bounding(const struct process *p, struct hoy_err *err)
{
	uint64_t keep = p->caps[CAPS_BOUNDING];

	for (int c = 0; c <= caps_last(); c++)
		if (!(keep & 1ULL << c) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EINVAL)
			return hoy_fail_errno(err, errno, "cannot drop %s from the bounding set", hoy_cap_name(c));
	return 0;
}

static int set_sets(uint64_t eff, uint64_t perm, uint64_t inh)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)eff, (uint32_t)perm, (uint32_t)inh },
		{ (uint32_t)(eff >> 32), (uint32_t)(perm >> 32), (uint32_t)(inh >> 32) },
	};

	return (int)syscall(SYS_capset, &h, d);
}

/* What the host itself does not have (a box without CAP_SYS_RESOURCE, say) cannot be given. */
static uint64_t permitted_now(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { { 0 } };

	syscall(SYS_capget, &h, d);
	return (uint64_t)d[1].permitted << 32 | d[0].permitted;
}

int caps_apply(const struct process *p, struct hoy_err *err)
{
	uint64_t have = permitted_now(), amb;

	if (p->has_caps && caps_drop_bounding(p, err) < 0)
		return -err->code;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return hoy_fail_errno(err, errno, "cannot keep capabilities");
	/* The plain system calls: libc would try to do it for all threads. */
	if (syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0)
		return hoy_fail_errno(err, errno, "cannot become group %u", p->gid);
	if (syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
		return hoy_fail_errno(err, errno, "cannot become user %u", p->uid);
	if (!p->has_caps)
		return 0;
	if (set_sets(p->caps[CAPS_EFFECTIVE] & have, p->caps[CAPS_PERMITTED] & have,
		     p->caps[CAPS_INHERITABLE] & have) < 0)
		return hoy_fail_errno(err, errno, "cannot set capabilities");
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	amb = p->caps[CAPS_AMBIENT] & have;
	for (int c = 0; amb >> c && c < 64; c++)
		if (amb & 1ULL << c && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0) < 0 && errno != EPERM &&
		    errno != EINVAL)
			return hoy_fail_errno(err, errno, "cannot raise ambient %s", hoy_cap_name(c));
	return 0;
}
