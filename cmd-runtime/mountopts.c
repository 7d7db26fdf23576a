/* Options of the "mounts" array: one table of names, the rest goes to the file system. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/sys.h"

static const struct option {
	const char *name;
	unsigned long ms;  /* for mount(2) */
	bool clear;
	uint64_t attr;	   /* for mount_setattr(2) */
} options[] = {
	{ "ro", MS_RDONLY, false, MOUNT_ATTR_RDONLY },
	{ "rw", MS_RDONLY, true, MOUNT_ATTR_RDONLY },
	{ "nosuid", MS_NOSUID, false, MOUNT_ATTR_NOSUID },
	{ "suid", MS_NOSUID, true, MOUNT_ATTR_NOSUID },
	{ "nodev", MS_NODEV, false, MOUNT_ATTR_NODEV },
	{ "dev", MS_NODEV, true, MOUNT_ATTR_NODEV },
	{ "noexec", MS_NOEXEC, false, MOUNT_ATTR_NOEXEC },
	{ "exec", MS_NOEXEC, true, MOUNT_ATTR_NOEXEC },
	{ "noatime", MS_NOATIME, false, MOUNT_ATTR_NOATIME },
	{ "atime", MS_NOATIME, true, MOUNT_ATTR_NOATIME },
	{ "nodiratime", MS_NODIRATIME, false, MOUNT_ATTR_NODIRATIME },
	{ "diratime", MS_NODIRATIME, true, MOUNT_ATTR_NODIRATIME },
	{ "relatime", MS_RELATIME, false, MOUNT_ATTR_RELATIME },
	{ "norelatime", MS_RELATIME, true, MOUNT_ATTR_RELATIME },
	{ "strictatime", MS_STRICTATIME, false, MOUNT_ATTR_STRICTATIME },
	{ "nostrictatime", MS_STRICTATIME, true, MOUNT_ATTR_STRICTATIME },
	{ "nosymfollow", MS_NOSYMFOLLOW, false, MOUNT_ATTR_NOSYMFOLLOW },
	{ "symfollow", MS_NOSYMFOLLOW, true, MOUNT_ATTR_NOSYMFOLLOW },
	{ "sync", MS_SYNCHRONOUS, false, 0 },
	{ "async", MS_SYNCHRONOUS, true, 0 },
	{ "dirsync", MS_DIRSYNC, false, 0 },
	{ "mand", MS_MANDLOCK, false, 0 },
	{ "nomand", MS_MANDLOCK, true, 0 },
	{ "silent", MS_SILENT, false, 0 },
	{ "loud", MS_SILENT, true, 0 },
	{ "iversion", MS_I_VERSION, false, 0 },
	{ "noiversion", MS_I_VERSION, true, 0 },
	{ "lazytime", MS_LAZYTIME, false, 0 },
	{ "nolazytime", MS_LAZYTIME, true, 0 },
	{ "defaults", 0, false, 0 },
	{ "remount", MS_REMOUNT, false, 0 },
};

static const struct { const char *name; unsigned long flags; } propagations[] = {
	{ "shared", MS_SHARED },   { "rshared", MS_SHARED | MS_REC },
	{ "slave", MS_SLAVE },	   { "rslave", MS_SLAVE | MS_REC },
	{ "private", MS_PRIVATE }, { "rprivate", MS_PRIVATE | MS_REC },
	{ "unbindable", MS_UNBINDABLE }, { "runbindable", MS_UNBINDABLE | MS_REC },
};

unsigned long mountopts_propagation(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(propagations); i++)
		if (!strcmp(propagations[i].name, name))
			return propagations[i].flags;
	return 0;
}

static void apply(const struct option *o, struct mount_opts *m, bool recursive)
{
	uint64_t *set = recursive ? &m->rec_set : &m->set, *clr = recursive ? &m->rec_clr : &m->clr;
	bool atime = (o->attr & MOUNT_ATTR__ATIME) || (o->ms & (MS_RELATIME | MS_NOATIME | MS_STRICTATIME));

	if (!recursive)
		m->flags = o->clear ? m->flags & ~o->ms : m->flags | o->ms;
	if (atime) {
		/* One field of several values: the kernel wants it cleared as a whole. */
		*clr |= MOUNT_ATTR__ATIME;
		*set = (*set & ~(uint64_t)MOUNT_ATTR__ATIME) | (o->clear ? 0 : o->attr);
	} else if (o->clear) {
		*clr |= o->attr;
		*set &= ~o->attr;
	} else {
		*set |= o->attr;
		*clr &= ~o->attr;
	}
}

static bool by_table(const char *name, struct mount_opts *m)
{
	for (int recursive = 0; recursive < 2; recursive++) {
		if (recursive && *name++ != 'r')
			return false;
		for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
			if (strcmp(options[i].name, name))
				continue;
			if (recursive && !options[i].attr && !(options[i].ms & MS_RELATIME))
				return false;
			apply(&options[i], m, recursive);
			return true;
		}
	}
	return false;
}

static bool special(const char *name, struct mount_opts *m)
{
	unsigned long p = mountopts_propagation(name);

	if (p)
		m->propagation = p;
	else if (!strcmp(name, "bind"))
		m->bind = true;
	else if (!strcmp(name, "rbind"))
		m->bind = m->rbind = true;
	else if (!strcmp(name, "tmpcopyup"))
		m->copyup = true;
	else if (!strcmp(name, "copy-symlink"))
		m->copy_link = true;
	else if (!strcmp(name, "src-nofollow"))
		m->src_nofollow = true;
	else if (!strcmp(name, "dest-nofollow"))
		m->dest_nofollow = true;
	else if (!strcmp(name, "idmap") || !strncmp(name, "idmap=", 6))
		m->idmap = true, m->idmap_arg = name[5] ? name + 6 : NULL;
	else if (!strcmp(name, "ridmap") || !strncmp(name, "ridmap=", 7))
		m->idmap = m->ridmap = true, m->idmap_arg = name[6] ? name + 7 : NULL;
	else
		return false;
	return true;
}

int mountopts_parse(const struct hoy_json *list, struct mount_opts *m, struct hoy_err *err)
{
	*m = (struct mount_opts){ .data = HOY_BUF_INIT(4095) };
	HOY_JSON_EACH(o, list) {
		const char *name = hoy_json_text(o);

		if (!name)
			return hoy_fail(err, EINVAL, "a mount option is no string");
		if (special(name, m) || by_table(name, m))
			continue;
		if (m->data.len)
			hoy_buf_putc(&m->data, ',');
		hoy_buf_puts(&m->data, name);
	}
	return m->data.error ? hoy_fail_errno(err, m->data.error, "mount options are too long") : 0;
}

void mountopts_features(struct hoy_jw *w)
{
	static const char *const others[] = { "bind", "rbind", "tmpcopyup", "idmap", "ridmap", "copy-symlink",
					      "src-nofollow", "dest-nofollow" };
	char name[64];

	hoy_jw_array(w, "mountOptions");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		hoy_jw_string(w, NULL, options[i].name);
		if (!options[i].attr && !(options[i].ms & MS_RELATIME))
			continue;
		snprintf(name, sizeof(name), "r%s", options[i].name);
		hoy_jw_string(w, NULL, name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(propagations); i++)
		hoy_jw_string(w, NULL, propagations[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		hoy_jw_string(w, NULL, others[i]);
	hoy_jw_end_array(w);
}
