/* cmd-net/nftenc.c: rules as instructions, in the order in which nft(8) writes them, so that nft shows them as one wrote them. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd-net/nft.h"

#define TABLE "netavark"

struct msg {
	char buf[4096];
	struct nlmsghdr *n;
};

static void start(struct nft_batch *b, struct msg *m, unsigned type, unsigned flags)
{
	struct nfgenmsg *g;

	m->n = mnl_nlmsg_put_header(m->buf);
	m->n->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	m->n->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	m->n->nlmsg_seq = ++b->seq;
	g = mnl_nlmsg_put_extra_header(m->n, sizeof(*g));
	g->nfgen_family = NFPROTO_INET;
	g->version = NFNETLINK_V0;
	b->changes++;
}

static void finish(struct nft_batch *b, struct msg *m) { hoy_buf_add(&b->buf, m->buf, MNL_ALIGN(m->n->nlmsg_len)); }

static void put32(struct msg *m, int attr, uint32_t v) { mnl_attr_put_u32(m->n, (uint16_t)attr, htonl(v)); }

void nft_put_table(struct nft_batch *b)
{
	struct msg m;

	start(b, &m, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	mnl_attr_put_strz(m.n, NFTA_TABLE_NAME, TABLE);
	put32(&m, NFTA_TABLE_FLAGS, 0);
	finish(b, &m);
}

void nft_put_chain(struct nft_batch *b, const char *name, const char *type, unsigned hook, int priority)
{
	struct msg m;
	struct nlattr *nest;

	start(b, &m, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	mnl_attr_put_strz(m.n, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(m.n, NFTA_CHAIN_NAME, name);
	if (type) {
		nest = mnl_attr_nest_start(m.n, NFTA_CHAIN_HOOK);
		put32(&m, NFTA_HOOK_HOOKNUM, hook);
		put32(&m, NFTA_HOOK_PRIORITY, (uint32_t)priority);
		mnl_attr_nest_end(m.n, nest);
		put32(&m, NFTA_CHAIN_POLICY, NF_ACCEPT);
		mnl_attr_put_strz(m.n, NFTA_CHAIN_TYPE, type);
	}
	finish(b, &m);
}

void nft_put_delete_chain(struct nft_batch *b, const char *name)
{
	struct msg m;

	start(b, &m, NFT_MSG_DELRULE, 0);
	mnl_attr_put_strz(m.n, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(m.n, NFTA_RULE_CHAIN, name);
	finish(b, &m);
	start(b, &m, NFT_MSG_DELCHAIN, 0);
	mnl_attr_put_strz(m.n, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(m.n, NFTA_CHAIN_NAME, name);
	finish(b, &m);
}

void nft_put_delete(struct nft_batch *b, const struct nft_rule *r)
{
	unsigned char handle[8];
	struct msg m;

	for (int i = 0; i < 8; i++)
		handle[i] = (unsigned char)(r->handle >> (56 - 8 * i));
	start(b, &m, NFT_MSG_DELRULE, 0);
	mnl_attr_put_strz(m.n, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(m.n, NFTA_RULE_CHAIN, r->chain);
	mnl_attr_put(m.n, NFTA_RULE_HANDLE, sizeof(handle), handle);
	finish(b, &m);
}

/* ---- instructions ---- */

struct expr {
	struct nlattr *elem, *data;
};

static struct expr open_expr(struct msg *m, const char *name)
{
	struct expr e;

	e.elem = mnl_attr_nest_start(m->n, NFTA_LIST_ELEM);
	mnl_attr_put_strz(m->n, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(m->n, NFTA_EXPR_DATA);
	return e;
}

static void close_expr(struct msg *m, struct expr e)
{
	mnl_attr_nest_end(m->n, e.data);
	mnl_attr_nest_end(m->n, e.elem);
}

static void put_data(struct msg *m, int attr, const void *v, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(m->n, (uint16_t)attr);

	mnl_attr_put(m->n, NFTA_DATA_VALUE, len, v);
	mnl_attr_nest_end(m->n, nest);
}

static void meta(struct msg *m, uint32_t key)
{
	struct expr e = open_expr(m, "meta");

	put32(m, NFTA_META_KEY, key);
	put32(m, NFTA_META_DREG, NFT_REG_1);
	close_expr(m, e);
}

static void payload(struct msg *m, uint32_t base, uint32_t off, uint32_t len)
{
	struct expr e = open_expr(m, "payload");

	put32(m, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put32(m, NFTA_PAYLOAD_BASE, base);
	put32(m, NFTA_PAYLOAD_OFFSET, off);
	put32(m, NFTA_PAYLOAD_LEN, len);
	close_expr(m, e);
}

static void bitwise(struct msg *m, const void *mask, const void *xor, uint32_t len)
{
	struct expr e = open_expr(m, "bitwise");

	put32(m, NFTA_BITWISE_SREG, NFT_REG_1);
	put32(m, NFTA_BITWISE_DREG, NFT_REG_1);
	put32(m, NFTA_BITWISE_LEN, len);
	put_data(m, NFTA_BITWISE_MASK, mask, len);
	put_data(m, NFTA_BITWISE_XOR, xor, len);
	close_expr(m, e);
}

static void cmp(struct msg *m, uint32_t op, const void *v, size_t len)
{
	struct expr e = open_expr(m, "cmp");

	put32(m, NFTA_CMP_SREG, NFT_REG_1);
	put32(m, NFTA_CMP_OP, op);
	put_data(m, NFTA_CMP_DATA, v, len);
	close_expr(m, e);
}

static void immediate(struct msg *m, uint32_t reg, const void *v, size_t len)
{
	struct expr e = open_expr(m, "immediate");

	put32(m, NFTA_IMMEDIATE_DREG, reg);
	put_data(m, NFTA_IMMEDIATE_DATA, v, len);
	close_expr(m, e);
}

static void verdict(struct msg *m, int code, const char *chain)
{
	struct expr e = open_expr(m, "immediate");
	struct nlattr *data, *v;

	put32(m, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = mnl_attr_nest_start(m->n, NFTA_IMMEDIATE_DATA);
	v = mnl_attr_nest_start(m->n, NFTA_DATA_VERDICT);
	put32(m, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain)
		mnl_attr_put_strz(m->n, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(m->n, v);
	mnl_attr_nest_end(m->n, data);
	close_expr(m, e);
}

/* ---- conditions ---- */

static const unsigned char zeroes[16];

static void match_address(struct msg *m, const struct prefix *p, bool source, bool not)
{
	bool six = p->a.family == AF_INET6;
	uint32_t off = six ? (source ? 8 : 24) : (source ? 12 : 16), len = (uint32_t)addr_size(&p->a);
	unsigned char mask[16] = { 0 };

	for (unsigned i = 0; i < p->bits; i++)
		mask[i / 8] |= (unsigned char)(0x80 >> i % 8);
	if (p->bits && p->bits % 8 == 0)
		len = p->bits / 8;
	payload(m, NFT_PAYLOAD_NETWORK_HEADER, off, len);
	if (!p->bits || p->bits % 8)
		bitwise(m, mask, zeroes, len);
	cmp(m, not ? NFT_CMP_NEQ : NFT_CMP_EQ, p->a.b, len);
}

static void match_addresses(struct msg *m, const struct nft_rule *r)
{
	const struct addr *a = r->from.a.family ? &r->from.a : &r->to.a;
	unsigned char family = a->family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;

	if (!a->family)
		return;
	meta(m, NFT_META_NFPROTO);
	cmp(m, NFT_CMP_EQ, &family, 1);
	if (r->from.a.family)
		match_address(m, &r->from, true, false);
	if (r->to.a.family)
		match_address(m, &r->to, false, r->to_not);
}

static void match_name(struct msg *m, uint32_t key, const char *name, bool not)
{
	char padded[16] = { 0 };

	if (!*name)
		return;
	memcpy(padded, name, strlen(name));
	meta(m, key);
	cmp(m, not ? NFT_CMP_NEQ : NFT_CMP_EQ, padded, sizeof(padded));
}

static void match_ports(struct msg *m, const struct nft_rule *r)
{
	uint16_t port = htons(r->port), end = htons(r->port_end);

	if (!r->port)
		return;
	payload(m, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
	if (r->port == r->port_end) {
		cmp(m, NFT_CMP_EQ, &port, 2);
	} else {
		cmp(m, NFT_CMP_GTE, &port, 2);
		cmp(m, NFT_CMP_LTE, &end, 2);
	}
}

static void match_rest(struct msg *m, const struct nft_rule *r)
{
	uint32_t mark = NFT_MARK, local = 2 /* RTN_LOCAL */;
	struct expr e;

	if (r->marked) {
		meta(m, NFT_META_MARK);
		bitwise(m, &mark, zeroes, 4);
		cmp(m, NFT_CMP_EQ, &mark, 4);
	}
	if (r->local) {
		e = open_expr(m, "fib");
		put32(m, NFTA_FIB_DREG, NFT_REG_1);
		put32(m, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
		put32(m, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
		close_expr(m, e);
		cmp(m, NFT_CMP_EQ, &local, 4);
	}
	if (r->ct_state) {
		e = open_expr(m, "ct");
		put32(m, NFTA_CT_KEY, NFT_CT_STATE);
		put32(m, NFTA_CT_DREG, NFT_REG_1);
		close_expr(m, e);
		bitwise(m, &r->ct_state, zeroes, 4);
		cmp(m, NFT_CMP_NEQ, zeroes, 4);
	}
}

/* { tcp, udp }: a set without a name, that lives with its rule. */
static uint32_t put_dns_set(struct nft_batch *b)
{
	static const unsigned char protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	struct nlattr *list, *elem, *desc;
	uint32_t id = ++b->sets;
	struct msg m;

	start(b, &m, NFT_MSG_NEWSET, NLM_F_CREATE);
	mnl_attr_put_strz(m.n, NFTA_SET_TABLE, TABLE);
	mnl_attr_put_strz(m.n, NFTA_SET_NAME, "__set%d");
	put32(&m, NFTA_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT);
	put32(&m, NFTA_SET_KEY_TYPE, 12 /* nft's number of an inet_proto */);
	put32(&m, NFTA_SET_KEY_LEN, 1);
	put32(&m, NFTA_SET_ID, id);
	desc = mnl_attr_nest_start(m.n, NFTA_SET_DESC);
	put32(&m, NFTA_SET_DESC_SIZE, sizeof(protos));
	mnl_attr_nest_end(m.n, desc);
	finish(b, &m);
	start(b, &m, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
	mnl_attr_put_strz(m.n, NFTA_SET_ELEM_LIST_TABLE, TABLE);
	mnl_attr_put_strz(m.n, NFTA_SET_ELEM_LIST_SET, "__set%d");
	put32(&m, NFTA_SET_ELEM_LIST_SET_ID, id);
	list = mnl_attr_nest_start(m.n, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (size_t i = 0; i < sizeof(protos); i++) {
		elem = mnl_attr_nest_start(m.n, NFTA_LIST_ELEM);
		put_data(&m, NFTA_SET_ELEM_KEY, &protos[i], 1);
		mnl_attr_nest_end(m.n, elem);
	}
	mnl_attr_nest_end(m.n, list);
	finish(b, &m);
	return id;
}

static void match_protocol(struct msg *m, const struct nft_rule *r, uint32_t set)
{
	struct expr e;

	if (!r->proto && !r->dns)
		return;
	meta(m, NFT_META_L4PROTO);
	if (r->proto) {
		cmp(m, NFT_CMP_EQ, &r->proto, 1);
		return;
	}
	e = open_expr(m, "lookup");
	put32(m, NFTA_LOOKUP_SREG, NFT_REG_1);
	mnl_attr_put_strz(m->n, NFTA_LOOKUP_SET, "__set%d");
	put32(m, NFTA_LOOKUP_SET_ID, set);
	close_expr(m, e);
}

/* ---- what is done ---- */

static void act_dnat(struct msg *m, const struct nft_rule *r)
{
	uint16_t port = htons(r->dnat_port);
	struct expr e;

	immediate(m, NFT_REG_1, r->dnat.b, addr_size(&r->dnat));
	immediate(m, NFT_REG_2, &port, 2);
	e = open_expr(m, "nat");
	put32(m, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	put32(m, NFTA_NAT_FAMILY, r->dnat.family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	put32(m, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
	put32(m, NFTA_NAT_REG_PROTO_MIN, NFT_REG_2);
	close_expr(m, e);
}

static void act_setmark(struct msg *m)
{
	uint32_t keep = ~NFT_MARK, set = NFT_MARK;
	struct expr e;

	meta(m, NFT_META_MARK);
	bitwise(m, &keep, &set, 4);
	e = open_expr(m, "meta");
	put32(m, NFTA_META_KEY, NFT_META_MARK);
	put32(m, NFTA_META_SREG, NFT_REG_1);
	close_expr(m, e);
}

static void act(struct msg *m, const struct nft_rule *r)
{
	switch (r->verdict) {
	case NFT_V_ACCEPT: verdict(m, NF_ACCEPT, NULL); break;
	case NFT_V_DROP: verdict(m, NF_DROP, NULL); break;
	case NFT_V_JUMP: verdict(m, NFT_JUMP, r->target); break;
	case NFT_V_MASQUERADE: close_expr(m, open_expr(m, "masq")); break;
	case NFT_V_DNAT: act_dnat(m, r); break;
	case NFT_V_SETMARK: act_setmark(m); break;
	}
}

void nft_put_rule(struct nft_batch *b, const struct nft_rule *r)
{
	uint32_t set = r->dns ? put_dns_set(b) : 0;
	struct nlattr *list;
	struct msg m;

	start(b, &m, NFT_MSG_NEWRULE, NLM_F_CREATE | (r->first ? 0 : NLM_F_APPEND));
	mnl_attr_put_strz(m.n, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(m.n, NFTA_RULE_CHAIN, r->chain);
	list = mnl_attr_nest_start(m.n, NFTA_RULE_EXPRESSIONS);
	match_name(&m, NFT_META_IIFNAME, r->iif, false);
	match_name(&m, NFT_META_OIFNAME, r->oif, r->oif_not);
	match_addresses(&m, r);
	match_protocol(&m, r, set);
	match_ports(&m, r);
	match_rest(&m, r);
	act(&m, r);
	mnl_attr_nest_end(m.n, list);
	finish(b, &m);
}
