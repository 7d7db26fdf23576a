/* cmd-net/bridge.c: a container on a bridge: the bridge, a veth, and what is set inside the container's namespace. */
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "cmd-net/net.h"
#include "common/base/err.h"
#include "common/base/fd.h"

/* /proc/sys may be read-only, and often the value is there already. What the kernel does not have, needs no setting. */
int sysctl_set(const char *value, const char *fmt, ...)
{
	char path[256], now[32];
	va_list ap;
	int n = snprintf(path, sizeof(path), "/proc/sys/net/");
	ssize_t r;

	va_start(ap, fmt);
	vsnprintf(path + n, sizeof(path) - n, fmt, ap);
	va_end(ap);
	r = hoy_read_small(AT_FDCWD, path, now, sizeof(now));
	if (r == -ENOENT || (r > 0 && !strcmp(now, value)))
		return 0;
	return hoy_write_small(AT_FDCWD, path, value);
}

static int fail_nl(struct nl *nl, int code, struct hoy_err *err, const struct network *n, const char *what, const char *which)
{
	hoy_fail_errno(err, -code, "network %s: cannot %s %s", n->name, what, which);
	if (nl->note[0]) {
		struct hoy_err first = *err;

		hoy_fail(err, -code, "%.700s (%s)", first.msg, nl->note);
	}
	return code;
}

/* ---- the bridge ---- */

static int bridge_sysctls(const struct network *n)
{
	int r;

	if (n->internal) {
		r = sysctl_set("0", "ipv4/conf/%s/forwarding", n->bridge);
		if (!r && n->six)
			r = sysctl_set("0", "ipv6/conf/%s/forwarding", n->bridge);
	} else {
		r = sysctl_set("1", "ipv4/ip_forward");
		if (!r && n->six)
			r = sysctl_set("1", "ipv6/conf/all/forwarding");
		/* Ports published on 127.0.0.1 leave through the bridge with that source. */
		if (!r)
			r = sysctl_set("1", "ipv4/conf/%s/route_localnet", n->bridge);
	}
	if (!r && n->six)
		r = sysctl_set("0", "ipv6/conf/%s/accept_dad", n->bridge);
	if (!r && n->six)
		r = sysctl_set("0", "ipv6/conf/%s/accept_ra", n->bridge);
	/* Strict filtering drops answers of a container in several networks. */
	return r ? r : sysctl_set("2", "ipv4/conf/%s/rp_filter", n->bridge);
}

/* Without an address of its own a bridge takes the lowest one of its ports, and changes it when they come and go. */
static void put_random_mac(struct nlmsghdr *m)
{
	unsigned char mac[6];

	if (getrandom(mac, sizeof(mac), 0) != sizeof(mac))
		return;
	mac[0] = (unsigned char)((mac[0] & 0xfc) | 2);
	mnl_attr_put(m, IFLA_ADDRESS, sizeof(mac), mac);
}

static void put_bridge(struct nl *nl, const struct network *n)
{
	struct ifinfomsg *i;
	struct nlmsghdr *m = nl_start(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i), &i);
	struct nlattr *info, *data;

	mnl_attr_put_strz(m, IFLA_IFNAME, n->bridge);
	put_random_mac(m);
	if (n->mtu)
		mnl_attr_put_u32(m, IFLA_MTU, n->mtu);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_str(m, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	mnl_attr_put_u32(m, IFLA_BR_STP_STATE, 0);
	if (n->vlan)
		mnl_attr_put_u8(m, IFLA_BR_VLAN_FILTERING, 1);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, info);
	nl_end(nl, m);
}

static int make_bridge(struct nl *nl, struct network *n, struct link *ret, struct hoy_err *err)
{
	int r;

	put_bridge(nl, n);
	r = nl_send(nl);
	if (r < 0)
		return fail_nl(nl, r, err, n, "create the bridge", n->bridge);
	n->made_bridge = true;
	r = link_get(nl, n->bridge, 0, ret);
	if (r < 0)
		return fail_nl(nl, r, err, n, "find the bridge", n->bridge);
	r = bridge_sysctls(n);
	if (r < 0)
		return hoy_fail_errno(err, -r, "network %s: cannot set what the kernel must do with bridge %s", n->name, n->bridge);
	for (size_t s = 0; s < n->n_subnets; s++)
		if (n->subnets[s].gateway.family)
			link_put_address(nl, ret->index, &(struct prefix){ n->subnets[s].gateway, n->subnets[s].net.bits });
	link_put_up(nl, ret->index);
	r = nl_send(nl);
	if (r < 0)
		return fail_nl(nl, r, err, n, "set up the bridge", n->bridge);
	if (!n->mtu)
		n->mtu = link_default_mtu(nl);
	return 0;
}

static int use_bridge(struct nl *nl, struct network *n, const struct link *br, struct hoy_err *err)
{
	if (strcmp(br->kind, "bridge"))
		return hoy_fail(err, EEXIST, "network %s: interface %s already exists and is no bridge%s%s", n->name, n->bridge,
				br->kind[0] ? " but of kind " : "", br->kind);
	if (!n->mtu)
		n->mtu = br->mtu;
	if (n->vlan && !br->vlan_filtering) {
		struct ifinfomsg *i;
		struct nlmsghdr *m = nl_start(nl, RTM_NEWLINK, 0, sizeof(*i), &i);
		struct nlattr *info, *data;
		int r;

		i->ifi_index = br->index;
		info = mnl_attr_nest_start(m, IFLA_LINKINFO);
		mnl_attr_put_str(m, IFLA_INFO_KIND, "bridge");
		data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
		mnl_attr_put_u8(m, IFLA_BR_VLAN_FILTERING, 1);
		mnl_attr_nest_end(m, data);
		mnl_attr_nest_end(m, info);
		nl_end(nl, m);
		r = nl_send(nl);
		if (r < 0)
			return fail_nl(nl, r, err, n, "turn on VLANs on", n->bridge);
	}
	return 0;
}

/* ---- the veth ---- */

/*
 * The same address always comes with the same MAC: who has spoken to its last owner need not wait for ARP. (FNV-1a over the
 * network and the address; locally administered.)
 */
static void derive_mac(struct network *n)
{
	uint64_t h = 0xcbf29ce484222325u;
	const struct addr *a = n->n_ips ? &n->ips[0].at.a : NULL;

	if (n->has_mac)
		return;
	if (!a && getrandom(&h, sizeof(h), 0) != sizeof(h))
		h ^= (uint64_t)(uintptr_t)n;
	for (const char *p = n->id; *p; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3u;
	for (size_t i = 0; a && i < addr_size(a); i++)
		h = (h ^ a->b[i]) * 0x100000001b3u;
	for (int i = 0; i < 6; i++)
		n->mac[i] = (unsigned char)(h >> (8 * i + 16));
	n->mac[0] = (unsigned char)((n->mac[0] & 0xfc) | 2);
}

/* One message: the host's end attached and up, the other end born in the container's namespace. */
static void put_veth(struct nl *nl, const struct network *n, int bridge, int netns)
{
	struct ifinfomsg *i;
	struct nlmsghdr *m = nl_start(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i), &i);
	struct nlattr *info, *data, *peer;

	i->ifi_flags = i->ifi_change = IFF_UP;
	if (n->host_ifname)
		mnl_attr_put_strz(m, IFLA_IFNAME, n->host_ifname);
	mnl_attr_put_u32(m, IFLA_MASTER, (uint32_t)bridge);
	if (n->mtu)
		mnl_attr_put_u32(m, IFLA_MTU, n->mtu);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_str(m, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(m, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(m, sizeof(*i));
	mnl_attr_put_strz(m, IFLA_IFNAME, n->ifname);
	mnl_attr_put(m, IFLA_ADDRESS, sizeof(n->mac), n->mac);
	if (n->mtu)
		mnl_attr_put_u32(m, IFLA_MTU, n->mtu);
	mnl_attr_put_u32(m, IFLA_NET_NS_FD, (uint32_t)netns);
	mnl_attr_nest_end(m, peer);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, info);
	nl_end(nl, m);
}

int bridge_setup(struct nl *nl, struct network *n, int netns, struct hoy_err *err)
{
	struct link br;
	int r = link_get(nl, n->bridge, 0, &br);

	if (r == -ENODEV && n->unmanaged)
		return hoy_fail(err, ENODEV, "network %s: in unmanaged mode the bridge %s must already exist", n->name, n->bridge);
	if (r == -ENODEV)
		r = make_bridge(nl, n, &br, err);
	else if (r < 0)
		r = fail_nl(nl, r, err, n, "look for the bridge", n->bridge);
	else
		r = use_bridge(nl, n, &br, err);
	if (r < 0)
		return r;
	derive_mac(n);
	put_veth(nl, n, br.index, netns);
	r = nl_send(nl);
	if (r == -EEXIST)
		return hoy_fail(err, EEXIST, "network %s: interface %s already exists in the container's namespace%s%s%s", n->name, n->ifname,
				n->host_ifname ? ", or " : "", n->host_ifname ? n->host_ifname : "", n->host_ifname ? " in the host's" : "");
	if (r < 0)
		return fail_nl(nl, r, err, n, "create the interface", n->ifname);
	n->made_link = true;
	return 0;
}

/* ---- inside ---- */

static int inside_sysctls(const struct network *n)
{
	int r = sysctl_set("0", "ipv6/conf/%s/autoconf", n->ifname);

	if (!r && n->six)
		r = sysctl_set("0", "ipv6/conf/%s/accept_dad", n->ifname);
	/* Tell the neighbours when it comes up. */
	if (!r)
		r = sysctl_set("1", "ipv4/conf/%s/arp_notify", n->ifname);
	return r ? r : sysctl_set("2", "ipv4/conf/%s/rp_filter", n->ifname);
}

static bool has_address_of(const struct network *n, const struct subnet *s)
{
	for (size_t i = 0; i < n->n_ips; i++)
		if (n->ips[i].of == s)
			return true;
	return false;
}

static void put_default_routes(struct nl *nl, const struct network *n)
{
	bool done[2] = { false, false };

	for (size_t i = 0; i < n->n_subnets && !n->internal && !n->no_default_route; i++) {
		const struct subnet *s = &n->subnets[i];
		struct route r = { .to = { .a.family = s->gateway.family }, .via = s->gateway, .type = RTN_UNICAST, .metric = n->metric };
		bool *d = &done[s->gateway.family == AF_INET6];

		if (!s->gateway.family || *d || !has_address_of(n, s))
			continue;
		*d = true;
		link_put_route(nl, &r);
	}
}

int bridge_inside(struct nl *nl, struct network *n, int *ret_host, struct hoy_err *err)
{
	struct link l;
	int r = link_get(nl, n->ifname, 0, &l);

	if (r < 0)
		return fail_nl(nl, r, err, n, "find the container's interface", n->ifname);
	if (!n->unmanaged)
		r = inside_sysctls(n);
	if (r < 0)
		return hoy_fail_errno(err, -r, "network %s: cannot set what the kernel must do with interface %s", n->name, n->ifname);
	link_put_up(nl, 1);
	for (size_t i = 0; i < n->n_ips; i++)
		link_put_address(nl, l.index, &n->ips[i].at);
	link_put_up(nl, l.index);
	put_default_routes(nl, n);
	for (size_t i = 0; i < n->n_routes; i++)
		link_put_route(nl, &n->routes[i]);
	r = nl_send(nl);
	if (r < 0)
		return fail_nl(nl, r, err, n, "set addresses and routes of", n->ifname);
	*ret_host = l.peer;
	return 0;
}

int bridge_outside(struct nl *nl, struct network *n, int host, struct hoy_err *err)
{
	struct bridge_vlan_info v = { .flags = BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED, .vid = (uint16_t)n->vlan };
	struct ifinfomsg *i;
	struct nlmsghdr *m;
	struct nlattr *spec;
	struct link l;
	int r = 0;

	if (n->six && !n->unmanaged && link_get(nl, NULL, host, &l) == 0)
		r = sysctl_set("0", "ipv6/conf/%s/accept_dad", l.name);
	if (r < 0)
		return hoy_fail_errno(err, -r, "network %s: cannot set what the kernel must do with interface %s", n->name, l.name);
	if (!n->vlan)
		return 0;
	m = nl_start(nl, RTM_SETLINK, 0, sizeof(*i), &i);
	i->ifi_family = AF_BRIDGE;
	i->ifi_index = host;
	spec = mnl_attr_nest_start(m, IFLA_AF_SPEC);
	mnl_attr_put(m, IFLA_BRIDGE_VLAN_INFO, sizeof(v), &v);
	mnl_attr_nest_end(m, spec);
	nl_end(nl, m);
	r = nl_send(nl);
	return r < 0 ? fail_nl(nl, r, err, n, "set the VLAN on bridge", n->bridge) : 0;
}

int bridge_remove(struct nl *nl, const struct network *n, struct hoy_err *err)
{
	struct link br;
	int r = link_get(nl, n->bridge, 0, &br), ports;

	/* Somebody else's interface, or none: nothing of this network is left. */
	if (r == -ENODEV || (!r && strcmp(br.kind, "bridge")))
		return 1;
	if (r < 0)
		return fail_nl(nl, r, err, n, "look for the bridge", n->bridge);
	ports = link_count_ports(nl, br.index);
	if (ports < 0)
		return fail_nl(nl, ports, err, n, "look for what is attached to", n->bridge);
	if (ports)
		return 0;
	r = link_delete(nl, n->bridge);
	return r < 0 && r != -ENODEV ? fail_nl(nl, r, err, n, "delete the bridge", n->bridge) : 1;
}
