/* cmd-net/link.c: interfaces, their addresses and routes, as rtnetlink messages. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd-net/net.h"

static void text_of(const struct nlattr *a, char *buf, size_t size)
{
	snprintf(buf, size, "%.*s", (int)mnl_attr_get_payload_len(a), (const char *)mnl_attr_get_payload(a));
}

static void read_info(const struct nlattr *info, struct link *l)
{
	const struct nlattr *a, *b;

	mnl_attr_for_each_nested(a, info) {
		if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
			text_of(a, l->kind, sizeof(l->kind));
		else if (mnl_attr_get_type(a) == IFLA_INFO_DATA && !strcmp(l->kind, "bridge"))
			mnl_attr_for_each_nested(b, a)
				if (mnl_attr_get_type(b) == IFLA_BR_VLAN_FILTERING)
					l->vlan_filtering = mnl_attr_get_u8(b);
	}
}

static int link_cb(const struct nlmsghdr *n, void *arg)
{
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(n);
	const struct nlattr *a;
	struct link *l = arg;

	if (n->nlmsg_type != RTM_NEWLINK)
		return 0;
	l->index = i->ifi_index;
	mnl_attr_for_each(a, n, sizeof(*i)) {
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME: text_of(a, l->name, sizeof(l->name)); break;
		case IFLA_MTU: l->mtu = mnl_attr_get_u32(a); break;
		case IFLA_LINK: l->peer = (int)mnl_attr_get_u32(a); break;
		case IFLA_MASTER: l->master = (int)mnl_attr_get_u32(a); break;
		case IFLA_LINKINFO: read_info(a, l); break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(a) == sizeof(l->mac))
				memcpy(l->mac, mnl_attr_get_payload(a), sizeof(l->mac));
			break;
		}
	}
	return 0;
}

int link_get(struct nl *nl, const char *name, int index, struct link *ret)
{
	struct link l = { 0 };
	struct ifinfomsg *i;
	struct nlmsghdr *n = nl_start(nl, RTM_GETLINK, 0, sizeof(*i), &i);
	int r;

	i->ifi_index = index;
	if (name)
		mnl_attr_put_strz(n, IFLA_IFNAME, name);
	nl->len += MNL_ALIGN(n->nlmsg_len);
	r = nl_ask(nl, link_cb, &l);
	if (!r && !l.index)
		r = -ENODEV;
	if (!r)
		*ret = l;
	return r;
}

int link_delete(struct nl *nl, const char *name)
{
	struct ifinfomsg *i;
	struct nlmsghdr *n = nl_start(nl, RTM_DELLINK, 0, sizeof(*i), &i);

	mnl_attr_put_strz(n, IFLA_IFNAME, name);
	nl_end(nl, n);
	return nl_send(nl);
}

struct tally {
	int master, count;
};

static int tally_cb(const struct nlmsghdr *n, void *arg)
{
	struct tally *t = arg;
	struct link l = { 0 };

	link_cb(n, &l);
	t->count += l.index && l.master == t->master;
	return 0;
}

int link_count_ports(struct nl *nl, int master)
{
	struct tally t = { master, 0 };
	struct ifinfomsg *i;
	struct nlmsghdr *n = nl_start(nl, RTM_GETLINK, NLM_F_DUMP, sizeof(*i), &i);
	int r;

	mnl_attr_put_u32(n, IFLA_MASTER, (uint32_t)master);
	nl->len += MNL_ALIGN(n->nlmsg_len);
	r = nl_ask(nl, tally_cb, &t);
	return r ? r : t.count;
}

static int default_route_cb(const struct nlmsghdr *n, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(n);
	const struct nlattr *a;
	int *oif = arg;

	if (n->nlmsg_type != RTM_NEWROUTE || m->rtm_dst_len || m->rtm_table != RT_TABLE_MAIN || *oif)
		return 0;
	mnl_attr_for_each(a, n, sizeof(*m))
		if (mnl_attr_get_type(a) == RTA_OIF)
			*oif = (int)mnl_attr_get_u32(a);
	return 0;
}

uint32_t link_default_mtu(struct nl *nl)
{
	static const unsigned char families[] = { AF_INET, AF_INET6 };
	struct link l;
	int oif = 0;

	for (size_t f = 0; f < ARRAY_SIZE(families) && !oif; f++) {
		struct rtmsg *m;
		struct nlmsghdr *n = nl_start(nl, RTM_GETROUTE, NLM_F_DUMP, sizeof(*m), &m);

		m->rtm_family = families[f];
		nl->len += MNL_ALIGN(n->nlmsg_len);
		if (nl_ask(nl, default_route_cb, &oif) < 0)
			return 0;
	}
	return oif && link_get(nl, NULL, oif, &l) == 0 ? l.mtu : 0;
}

void link_put_up(struct nl *nl, int index)
{
	struct ifinfomsg *i;
	struct nlmsghdr *n = nl_start(nl, RTM_NEWLINK, 0, sizeof(*i), &i);

	i->ifi_index = index;
	i->ifi_flags = i->ifi_change = IFF_UP;
	nl_end(nl, n);
}

void link_put_address(struct nl *nl, int index, const struct prefix *p)
{
	struct ifaddrmsg *m;
	struct nlmsghdr *n = nl_start(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*m), &m);
	struct prefix last = *p;

	m->ifa_family = (unsigned char)p->a.family;
	m->ifa_prefixlen = (unsigned char)p->bits;
	m->ifa_index = (unsigned)index;
	mnl_attr_put(n, IFA_LOCAL, addr_size(&p->a), p->a.b);
	mnl_attr_put(n, IFA_ADDRESS, addr_size(&p->a), p->a.b);
	if (p->a.family == AF_INET6) {
		mnl_attr_put_u32(n, IFA_FLAGS, IFA_F_NODAD);
	} else if (p->bits < 31) {
		for (unsigned i = p->bits; i < 32; i++)
			last.a.b[i / 8] |= (unsigned char)(0x80 >> i % 8);
		mnl_attr_put(n, IFA_BROADCAST, 4, last.a.b);
	}
	nl_end(nl, n);
}

void link_put_route(struct nl *nl, const struct route *r)
{
	struct rtmsg *m;
	/* Not exclusive: a second network may bring a default route of the same metric. */
	struct nlmsghdr *n = nl_start(nl, RTM_NEWROUTE, NLM_F_CREATE, sizeof(*m), &m);

	m->rtm_family = (unsigned char)r->to.a.family;
	m->rtm_dst_len = (unsigned char)r->to.bits;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = r->type;
	if (r->to.bits)
		mnl_attr_put(n, RTA_DST, addr_size(&r->to.a), r->to.a.b);
	if (r->via.family)
		mnl_attr_put(n, RTA_GATEWAY, addr_size(&r->via), r->via.b);
	if (r->metric)
		mnl_attr_put_u32(n, RTA_PRIORITY, r->metric);
	nl_end(nl, n);
}
