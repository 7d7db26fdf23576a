/*
 * cmd-net/setup.c: the two deeds. Setup does all that happens in the host's namespace first, then goes into the container's one
 * once; what fails halfway is undone.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-net/net.h"
#include "cmd-net/verbs.h"
#include "common/base/err.h"
#include "common/base/fd.h"

struct place {
	struct nl host, inside;
	int lock, host_ns, ns;
};

static int open_place(struct place *p, const struct request *r, const char *path, bool need_ns, struct hoy_err *err)
{
	struct stat a, b;
	int e;

	p->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (p->host_ns < 0)
		return hoy_fail_errno(err, errno, "cannot open '/proc/self/ns/net'");
	p->ns = open(path, O_RDONLY | O_CLOEXEC);
	if (p->ns < 0 && need_ns)
		return hoy_fail_errno(err, errno, "invalid namespace path '%s'", path);
	if (p->ns >= 0 && fstat(p->host_ns, &a) == 0 && fstat(p->ns, &b) == 0) {
		/* A path whose mount is gone is an ordinary file: as good as no namespace. */
		if (a.st_dev != b.st_dev && !need_ns) {
			close(p->ns);
			p->ns = -1;
		} else if (a.st_dev != b.st_dev) {
			return hoy_fail(err, EINVAL, "invalid namespace path '%s': it is no namespace", path);
		} else if (a.st_ino == b.st_ino) {
			return hoy_fail(err, EINVAL, "invalid namespace path '%s': it is the host's own network", path);
		}
	}
	e = nl_open(&p->host);
	if (e < 0)
		return hoy_fail_errno(err, -e, "cannot open a netlink socket");
	p->lock = state_lock(r, err);
	return p->lock < 0 ? p->lock : 0;
}

static void close_place(struct place *p)
{
	nl_close(&p->host);
	nl_close(&p->inside);
	hoy_close(p->host_ns);
	hoy_close(p->ns);
	hoy_close(p->lock);
}

static int enter(struct place *p, struct hoy_err *err)
{
	int e;

	if (setns(p->ns, CLONE_NEWNET) < 0)
		return hoy_fail_errno(err, errno, "cannot enter the container's network namespace");
	e = p->inside.sock ? 0 : nl_open(&p->inside);
	return e < 0 ? hoy_fail_errno(err, -e, "cannot open a netlink socket") : 0;
}

static int leave(struct place *p, struct hoy_err *err)
{
	if (setns(p->host_ns, CLONE_NEWNET) < 0)
		return hoy_fail_errno(err, errno, "cannot return to the host's network namespace");
	return 0;
}

/* ---- setup ---- */

static int setup_host(struct place *p, const struct request *r, struct network *n, struct hoy_err *err)
{
	int e = bridge_setup(&p->host, n, p->ns, err);

	if (e < 0 || n->internal || n->unmanaged || !r->firewall)
		return e;
	e = firewall_setup(r, n, err);
	return e < 0 || r->rootless ? e : state_write(r, n, err);
}

/* One visit for all networks; then the few things that only the other end's index can name. */
static int setup_inside(struct place *p, struct request *r, struct hoy_err *err)
{
	int e = enter(p, err);
	bool again = false;

	for (size_t i = 0; i < r->n_nets && !e; i++) {
		e = bridge_inside(&p->inside, &r->nets[i], &r->nets[i].host_index, err);
		again |= r->nets[i].six || r->nets[i].vlan;
	}
	if (e < 0 || !again)
		return e;
	e = leave(p, err);
	for (size_t i = 0; i < r->n_nets && !e; i++)
		e = bridge_outside(&p->host, &r->nets[i], r->nets[i].host_index, err);
	return e;
}

static void undo(struct place *p, struct request *r)
{
	struct hoy_err quiet = HOY_ERR_INIT;

	for (size_t i = 0; i < r->n_nets; i++)
		if (r->nets[i].made_link && enter(p, &quiet) == 0)
			(void)link_delete(&p->inside, r->nets[i].ifname);
	if (leave(p, &quiet) < 0)
		return;
	for (size_t i = 0; i < r->n_nets; i++) {
		struct network *n = &r->nets[i];
		bool whole = n->made_bridge && bridge_remove(&p->host, n, &quiet) == 1;

		if (!n->made_rules)
			continue;
		(void)firewall_teardown(r, n, whole, &quiet);
		if (!r->rootless)
			state_remove(r, n, whole);
	}
}

int net_setup(struct request *r, const char *ns, struct hoy_buf *out, struct hoy_err *err)
{
	struct place p = { .lock = -1, .host_ns = -1, .ns = -1 };
	int e = open_place(&p, r, ns, true, err);

	for (size_t i = 0; i < r->n_nets && !e; i++)
		e = setup_host(&p, r, &r->nets[i], err);
	if (!e)
		e = setup_inside(&p, r, err);
	if (!e)
		status_write(r, out);
	if (!e && out->error)
		e = hoy_fail_oom(err);
	if (e < 0 && p.lock >= 0)
		undo(&p, r);
	close_place(&p);
	return e;
}

/* ---- teardown: go on whatever fails, and report the first failure ---- */

static void delete_links(struct place *p, struct request *r, struct hoy_err *err)
{
	struct hoy_err other = HOY_ERR_INIT;

	if (enter(p, err) < 0)
		return;
	for (size_t i = 0; i < r->n_nets; i++) {
		int e = link_delete(&p->inside, r->nets[i].ifname);

		if (e < 0 && e != -ENODEV && !err->code)
			hoy_fail_errno(err, -e, "network %s: cannot delete the interface %s", r->nets[i].name, r->nets[i].ifname);
	}
	(void)leave(p, &other);
}

static void teardown_network(struct place *p, struct request *r, struct network *n, struct hoy_err *err)
{
	struct hoy_err mine = HOY_ERR_INIT;
	bool whole = false;

	if (n->unmanaged)
		return;
	if (!r->lazy)
		whole = bridge_remove(&p->host, n, &mine) == 1;
	/* Before the rules: a reload between the two must not bring them back. */
	if (!n->internal && !r->rootless)
		state_remove(r, n, whole);
	if (!n->internal && r->firewall) {
		firewall_teardown(r, n, false, mine.code ? NULL : &mine);
		if (whole)
			firewall_teardown(r, n, true, mine.code ? NULL : &mine);
	}
	if (mine.code && !err->code)
		*err = mine;
}

int net_teardown(struct request *r, const char *ns, struct hoy_err *err)
{
	struct place p = { .lock = -1, .host_ns = -1, .ns = -1 };
	int e = open_place(&p, r, ns, false, err);

	if (!e && !r->lazy && p.ns >= 0)
		delete_links(&p, r, err);
	for (size_t i = 0; i < r->n_nets && !e; i++)
		teardown_network(&p, r, &r->nets[i], err);
	close_place(&p);
	return e ? e : -err->code;
}

int net_remove(struct request *r, struct hoy_err *err)
{
	struct place p = { .lock = -1, .host_ns = -1, .ns = -1 };
	struct network *n = r->nets;
	int e = open_place(&p, r, "", false, err);

	if (!e)
		e = bridge_remove(&p.host, n, err);
	if (!e)
		e = hoy_fail(err, HOY_EBUSY, "network %s: bridge %s is in use", n->name, n->bridge);
	if (e == 1) {
		state_remove(r, n, true);
		e = n->internal || !r->firewall ? 0 : firewall_teardown(r, n, true, err);
	}
	close_place(&p);
	return e;
}
