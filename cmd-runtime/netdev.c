/* linux.netDevices: devices of the host become the container's, with another name if wanted and with the addresses they have. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/sys.h"

struct request {
	struct nlmsghdr h;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
	};
	char attrs[512];
};

static void put(struct request *q, int type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)q + NLMSG_ALIGN(q->h.nlmsg_len));

	a->rta_type = (unsigned short)type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	q->h.nlmsg_len = NLMSG_ALIGN(q->h.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

/* Send Q and wait for the kernel's verdict. */
static int ask(int fd, struct request *q)
{
	char answer[4096] __attribute__((aligned(8)));
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer;
	ssize_t n;

	q->h.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(fd, q, q->h.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, answer, sizeof(answer), 0);
	if (n < 0)
		return -errno;
	return NLMSG_OK(h, n) && h->nlmsg_type == NLMSG_ERROR ? ((struct nlmsgerr *)NLMSG_DATA(h))->error : -EPROTO;
}

/* The permanent global addresses of device INDEX, as messages that set them again, in RET. */
static int addresses(int fd, int index, struct hoy_buf *ret)
{
	struct request q = { .h = { NLMSG_LENGTH(sizeof(q.addr)), RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 } };
	char part[32768] __attribute__((aligned(8)));

	if (send(fd, &q, q.h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, part, sizeof(part), 0);
		int left = (int)n;

		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)part; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			struct ifaddrmsg *a = NLMSG_DATA(h);

			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				return h->nlmsg_type == NLMSG_DONE ? 0 : ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_type == RTM_NEWADDR && (int)a->ifa_index == index && a->ifa_scope == RT_SCOPE_UNIVERSE &&
			    a->ifa_flags & IFA_F_PERMANENT && h->nlmsg_len <= sizeof(struct request))
				hoy_buf_add(ret, h, NLMSG_ALIGN(h->nlmsg_len));
		}
	}
}

static int set_address(int fd, const struct nlmsghdr *h, int index)
{
	const struct ifaddrmsg *old = NLMSG_DATA(h);
	struct request q = { .h = { NLMSG_LENGTH(sizeof(q.addr)), RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, 1, 0 } };
	int left = (int)IFA_PAYLOAD(h);

	q.addr = *old;
	q.addr.ifa_index = (unsigned)index;
	for (struct rtattr *a = IFA_RTA(old); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFA_LOCAL || a->rta_type == IFA_ADDRESS || a->rta_type == IFA_BROADCAST)
			put(&q, a->rta_type, RTA_DATA(a), RTA_PAYLOAD(a));
	return ask(fd, &q);
}

static int bring_up(int fd, int index)
{
	struct request q = { .h = { NLMSG_LENGTH(sizeof(q.link)), RTM_NEWLINK, 0, 1, 0 } };

	q.link.ifi_index = index;
	q.link.ifi_flags = q.link.ifi_change = IFF_UP;
	return ask(fd, &q);
}

static int name_to_index(int inet, const char *name)
{
	struct ifreq r = { .ifr_ifindex = 0 };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	return ioctl(inet, SIOCGIFINDEX, &r) < 0 ? -errno : r.ifr_ifindex;
}

/* Sockets of the namespace NS, made there on a short visit. */
static int sockets_in(int ns, int *ret_netlink, int *ret_inet)
{
	cleanup_fd int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (home < 0 || setns(ns, CLONE_NEWNET) < 0)
		return -errno;
	*ret_netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	*ret_inet = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (*ret_netlink < 0 || *ret_inet < 0)
		r = -errno;
	return setns(home, CLONE_NEWNET) < 0 ? -errno : r;
}

struct networks { int here, there, inet_there, ns; };

static int move_one(const struct networks *n, const char *name, const char *as, struct hoy_err *err)
{
	struct request q = { .h = { NLMSG_LENGTH(sizeof(q.link)), RTM_NEWLINK, 0, 1, 0 } };
	cleanup_buf struct hoy_buf addrs = HOY_BUF_INIT(1 << 20);
	unsigned index = if_nametoindex(name);
	int now, r;

	if (!index)
		return hoy_fail_errno(err, ENODEV, "cannot find network device '%s'", name);
	r = addresses(n->here, (int)index, &addrs);
	if (r < 0 || addrs.error)
		return hoy_fail_errno(err, r < 0 ? -r : addrs.error, "cannot read the addresses of network device '%s'", name);
	q.link.ifi_index = (int)index;
	put(&q, IFLA_NET_NS_FD, &n->ns, sizeof(n->ns));
	put(&q, IFLA_IFNAME, as, strlen(as) + 1);
	r = ask(n->here, &q);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot move network device '%s' into the container as '%s'", name, as);
	now = name_to_index(n->inet_there, as);
	r = now < 0 ? now : bring_up(n->there, now);
	for (size_t at = 0; !r && at < addrs.len;) {
		const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)(addrs.data + at);

		r = set_address(n->there, h, now);
		at += NLMSG_ALIGN(h->nlmsg_len);
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot set up network device '%s' in the container", as) : 0;
}

static bool name_ok(const char *name)
{
	return *name && strlen(name) < IFNAMSIZ && !strpbrk(name, "/ \t\n:%") && strcmp(name, ".") && strcmp(name, "..");
}

int netdev_check(const struct spec *s, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(s->linux_, "netDevices");

	if (list && list->count && !s->ns_new[NS_NET] && !s->ns_path[NS_NET])
		return hoy_fail(err, EINVAL, "linux.netDevices requires a network namespace");
	HOY_JSON_EACH(d, list) {
		const char *as = hoy_json_str(d, "name");

		if (!name_ok(d->key) || (as && !name_ok(as)))
			return hoy_fail(err, EINVAL, "linux.netDevices: '%s' is no name of a device", as && name_ok(d->key) ? as : d->key);
	}
	return 0;
}

int netdev_move(const struct spec *s, pid_t pid, int ns, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(s->linux_, "netDevices");
	cleanup_fd int here = -1, there = -1, inet = -1, own = -1;
	char path[64];
	int r;

	if (!list || !list->count)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	own = ns < 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ns = ns < 0 ? own : ns;
	here = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	r = ns < 0 || here < 0 ? -errno : sockets_in(ns, &there, &inet);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot reach the network namespace of the container");
	HOY_JSON_EACH(d, list) {
		const struct networks n = { here, there, inet, ns };
		const char *as = hoy_json_str(d, "name");

		if (move_one(&n, d->key, as ? as : d->key, err) < 0)
			return -err->code;
	}
	return 0;
}
