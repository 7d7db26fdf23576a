/* Bind mounts with mapped ids. The kernel takes the mapping as a user namespace, so one is made for each. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-runtime/mounts.h"
#include "common/proc/idmap.h"
#include "common/proc/sys.h"

/* IN to the host's ids of OUT in the container whose mappings are OWN, line by line where these are several. */
static bool map_relative(const struct hoy_json *own, uint64_t in, uint64_t out, uint64_t size, struct hoy_buf *b)
{
	while (size) {
		uint64_t n = 0;

		HOY_JSON_EACH(m, own) {
			uint64_t inside = (uint64_t)hoy_json_int(m, "containerID", 0), len = (uint64_t)hoy_json_int(m, "size", 0);

			if (out < inside || out - inside >= len)
				continue;
			n = len - (out - inside) < size ? len - (out - inside) : size;
			hoy_buf_printf(b, "%llu %llu %llu\n", (unsigned long long)in,
				       (unsigned long long)(hoy_json_int(m, "hostID", 0) + (int64_t)(out - inside)), (unsigned long long)n);
			break;
		}
		if (!n)
			return false;
		in += n, out += n, size -= n;
	}
	return true;
}

/* "0-1-10#@10-11-10" behind KEY in "uids=...;gids=..." as lines of a uid_map. */
static int map_from_option(const char *arg, const char *key, const struct hoy_json *own, struct hoy_buf *b, struct hoy_err *err)
{
	const char *p = strstr(arg, key);

	if (!p)
		return hoy_fail(err, EINVAL, "mount option 'idmap=%s' has no '%s'", arg, key);
	for (p += strlen(key); *p && *p != ';'; p += *p == '#') {
		bool relative = *p == '@';
		unsigned in, out, size;
		int n = 0;

		p += relative;
		if (sscanf(p, "%u-%u-%u%n", &in, &out, &size, &n) != 3)
			return hoy_fail(err, EINVAL, "mount option 'idmap=%s': cannot use '%s'", arg, p);
		if (!relative)
			hoy_buf_printf(b, "%u %u %u\n", in, out, size);
		else if (!map_relative(own, in, out, size, b))
			return hoy_fail(err, EINVAL, "mount option 'idmap=%s': ids from %u on are not mapped in the container", arg, out);
		p += n;
	}
	return 0;
}

static void map_from_json(const struct hoy_json *list, struct hoy_buf *b)
{
	HOY_JSON_EACH(m, list)
		hoy_buf_printf(b, "%lld %lld %lld\n", (long long)hoy_json_int(m, "containerID", 0),
			       (long long)hoy_json_int(m, "hostID", 0), (long long)hoy_json_int(m, "size", 0));
}

static int collect(const struct mount_job *m, const struct spec *s, struct hoy_buf *uids, struct hoy_buf *gids,
		   struct hoy_err *err)
{
	const struct hoy_json *from = hoy_json_get(m->json, "uidMappings") ? m->json : s->linux_;

	if (m->o.idmap_arg)
		return map_from_option(m->o.idmap_arg, "uids=", hoy_json_get(s->linux_, "uidMappings"), uids, err) < 0 ||
		       map_from_option(m->o.idmap_arg, "gids=", hoy_json_get(s->linux_, "gidMappings"), gids, err) < 0 ? -err->code : 0;
	map_from_json(hoy_json_get(from, "uidMappings"), uids);
	map_from_json(hoy_json_get(from, "gidMappings"), gids);
	if (!uids->len || !gids->len)
		return hoy_fail(err, EINVAL, "mount '%s' has option idmap, but there is no mapping for it", m->target);
	return 0;
}

int idmap_prepare(struct mount_jobs *jobs, const struct root *r, const struct spec *s, struct hoy_err *err)
{
	for (size_t i = 0; i < jobs->n; i++) {
		struct mount_job *m = &jobs->v[i];
		cleanup_buf struct hoy_buf uids = HOY_BUF_INIT(1 << 16), gids = HOY_BUF_INIT(1 << 16);
		/* Opened on the host: no mount made on it in the container may appear there. */
		struct sys_mount_attr a = { .set = MOUNT_ATTR_IDMAP }, alone = { .propagation = MS_PRIVATE };
		cleanup_fd int ns = -1;

		if (!m->o.idmap && !hoy_json_get(m->json, "uidMappings"))
			continue;
		if (!m->o.bind)
			return hoy_fail(err, HOY_EUNSUPPORTED, "mount '%s': only bind mounts can map ids", m->target);
		if (collect(m, s, &uids, &gids, err) < 0)
			return -err->code;
		ns = hoy_idmap_userns(hoy_buf_str(&uids), hoy_buf_str(&gids), err);
		m->fd = ns < 0 ? ns : mounts_open_source(r, m, err);
		if (m->fd < 0)
			return m->fd;
		a.userns_fd = (uint64_t)ns;
		if (sys_mount_setattr(m->fd, AT_RECURSIVE, &alone) < 0)
			return hoy_fail_errno(err, errno, "cannot make mount '%s' private", m->target);
		if (sys_mount_setattr(m->fd, m->o.ridmap ? AT_RECURSIVE : 0, &a) < 0)
			return hoy_fail_errno(err, errno, "cannot map the ids of mount '%s'", m->target);
	}
	return 0;
}
