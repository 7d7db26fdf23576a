/* cmd-net/nftdec.c: the instructions of an nft rule become what they mean, as far as netavark's rules go. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd-net/nft.h"

/* What a register holds. */
struct reg {
	enum { R_NONE, R_META, R_CT, R_FIB, R_NETWORK, R_TRANSPORT, R_VALUE } kind;
	uint32_t key, off, len;
	bool masked;
	unsigned char mask[16], xor[16], value[16];
};

struct decoder {
	struct nft_rule *r;
	struct reg regs[20], none;
	int family;			   /* by meta nfproto */
	unsigned char nh[40], nh_mask[40]; /* network header: what must be there */
	unsigned char not[40], not_mask[40]; /* and what must not */
};

#define MAX_ATTR 16
struct attrs {
	const struct nlattr *a[MAX_ATTR];
};

static int attr_cb(const struct nlattr *a, void *arg)
{
	struct attrs *t = arg;

	if (mnl_attr_get_type(a) < MAX_ATTR)
		t->a[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static struct attrs nested(const struct nlattr *a)
{
	struct attrs t = { { NULL } };

	if (a)
		(void)mnl_attr_parse_nested(a, attr_cb, &t);
	return t;
}

static uint32_t u32(const struct attrs *t, int which)
{
	return t->a[which] && mnl_attr_get_payload_len(t->a[which]) >= 4 ? ntohl(mnl_attr_get_u32(t->a[which])) : 0;
}

static void text(const struct nlattr *a, char *buf, size_t size)
{
	snprintf(buf, size, "%.*s", a ? (int)mnl_attr_get_payload_len(a) : 0, a ? (const char *)mnl_attr_get_payload(a) : "");
}

/* Four registers of 16 bytes (1 to 4) lie on sixteen of 4 bytes (8 to 23). */
static struct reg *reg(struct decoder *d, uint32_t n)
{
	uint32_t at = n >= 8 ? n - 8 : n >= 1 && n <= 4 ? (n - 1) * 4 : 99;

	if (at < 20)
		return &d->regs[at];
	d->r->other = true;
	d->none = (struct reg){ 0 };
	return &d->none;
}

/* A value of at most 16 bytes; its length. */
static uint32_t data(const struct nlattr *a, unsigned char ret[16])
{
	struct attrs t = nested(a);
	uint32_t n = t.a[NFTA_DATA_VALUE] ? mnl_attr_get_payload_len(t.a[NFTA_DATA_VALUE]) : 0;

	memset(ret, 0, 16);
	if (n > 16)
		return 0;
	if (n)
		memcpy(ret, mnl_attr_get_payload(t.a[NFTA_DATA_VALUE]), n);
	return n;
}

static uint32_t host32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

/* ---- comparisons ---- */

static void cmp_meta(struct decoder *d, const struct reg *g, uint32_t op, const unsigned char v[16], uint32_t len)
{
	struct nft_rule *r = d->r;
	bool not = op == NFT_CMP_NEQ;

	if (op != NFT_CMP_EQ && !not)
		r->other = true;
	else if (g->key == NFT_META_NFPROTO && !not && (v[0] == NFPROTO_IPV4 || v[0] == NFPROTO_IPV6))
		d->family = v[0] == NFPROTO_IPV6 ? AF_INET6 : AF_INET;
	else if (g->key == NFT_META_L4PROTO && !not)
		r->proto = v[0];
	else if (g->key == NFT_META_IIFNAME && !not && len == 16)
		snprintf(r->iif, sizeof(r->iif), "%.15s", (const char *)v);
	else if (g->key == NFT_META_OIFNAME && len == 16 && !r->oif[0]) {
		snprintf(r->oif, sizeof(r->oif), "%.15s", (const char *)v);
		r->oif_not = not;
	} else if (g->key == NFT_META_MARK && !not && g->masked && host32(g->mask) == NFT_MARK && host32(v) == NFT_MARK)
		r->marked = true;
	else
		r->other = true;
}

static void cmp_network(struct decoder *d, const struct reg *g, uint32_t op, const unsigned char v[16], uint32_t len)
{
	unsigned char *val = op == NFT_CMP_EQ ? d->nh : d->not, *mask = op == NFT_CMP_EQ ? d->nh_mask : d->not_mask;

	if ((op != NFT_CMP_EQ && op != NFT_CMP_NEQ) || len > g->len || g->off > sizeof(d->nh) || g->off + len > sizeof(d->nh)) {
		d->r->other = true;
		return;
	}
	for (uint32_t i = 0; i < len; i++) {
		val[g->off + i] = v[i];
		mask[g->off + i] = g->masked ? g->mask[i] : 0xff;
	}
}

static void cmp_port(struct decoder *d, const struct reg *g, uint32_t op, const unsigned char v[16])
{
	uint16_t port = (uint16_t)(v[0] << 8 | v[1]);

	if (g->off != 2 || g->len != 2 || g->masked)
		d->r->other = true;
	else if (op == NFT_CMP_EQ)
		d->r->port = d->r->port_end = port;
	else if (op == NFT_CMP_GTE)
		d->r->port = port;
	else if (op == NFT_CMP_LTE)
		d->r->port_end = port;
	else
		d->r->other = true;
}

static void do_cmp(struct decoder *d, const struct attrs *t)
{
	const struct reg *g = reg(d, u32(t, NFTA_CMP_SREG));
	uint32_t op = u32(t, NFTA_CMP_OP), len;
	unsigned char v[16];

	len = data(t->a[NFTA_CMP_DATA], v);
	if (g->kind == R_META)
		cmp_meta(d, g, op, v, len);
	else if (g->kind == R_NETWORK)
		cmp_network(d, g, op, v, len);
	else if (g->kind == R_TRANSPORT)
		cmp_port(d, g, op, v);
	else if (g->kind == R_CT && g->key == NFT_CT_STATE && op == NFT_CMP_NEQ && g->masked && !host32(v))
		d->r->ct_state = host32(g->mask);
	else if (g->kind == R_FIB && op == NFT_CMP_EQ && host32(v) == 2 /* RTN_LOCAL */)
		d->r->local = true;
	else
		d->r->other = true;
}

static void do_range(struct decoder *d, const struct attrs *t)
{
	const struct reg *g = reg(d, u32(t, NFTA_RANGE_SREG));
	unsigned char a[16], b[16];

	data(t->a[NFTA_RANGE_FROM_DATA], a);
	data(t->a[NFTA_RANGE_TO_DATA], b);
	if (g->kind != R_TRANSPORT || u32(t, NFTA_RANGE_OP) != NFT_RANGE_EQ) {
		d->r->other = true;
		return;
	}
	cmp_port(d, g, NFT_CMP_GTE, a);
	cmp_port(d, g, NFT_CMP_LTE, b);
}

/* ---- the other instructions ---- */

static void do_meta(struct decoder *d, const struct attrs *t)
{
	uint32_t key = u32(t, NFTA_META_KEY);
	const struct reg *g;

	if (t->a[NFTA_META_DREG]) {
		*reg(d, u32(t, NFTA_META_DREG)) = (struct reg){ .kind = R_META, .key = key };
		return;
	}
	g = reg(d, u32(t, NFTA_META_SREG));
	if (key == NFT_META_MARK && g->kind == R_META && g->key == NFT_META_MARK && g->masked && host32(g->xor) == NFT_MARK)
		d->r->verdict = NFT_V_SETMARK;
	else
		d->r->other = true;
}

static void do_payload(struct decoder *d, const struct attrs *t)
{
	struct reg g = { .off = u32(t, NFTA_PAYLOAD_OFFSET), .len = u32(t, NFTA_PAYLOAD_LEN) };
	uint32_t base = u32(t, NFTA_PAYLOAD_BASE);

	g.kind = base == NFT_PAYLOAD_NETWORK_HEADER ? R_NETWORK : base == NFT_PAYLOAD_TRANSPORT_HEADER ? R_TRANSPORT : R_NONE;
	if (t->a[NFTA_PAYLOAD_DREG])
		*reg(d, u32(t, NFTA_PAYLOAD_DREG)) = g;
	else
		d->r->other = true;
}

static void do_bitwise(struct decoder *d, const struct attrs *t)
{
	struct reg g = *reg(d, u32(t, NFTA_BITWISE_SREG));

	if (u32(t, NFTA_BITWISE_OP) || g.masked)
		d->r->other = true;
	g.masked = true;
	data(t->a[NFTA_BITWISE_MASK], g.mask);
	data(t->a[NFTA_BITWISE_XOR], g.xor);
	*reg(d, u32(t, NFTA_BITWISE_DREG)) = g;
}

static void do_immediate(struct decoder *d, const struct attrs *t)
{
	struct attrs in = nested(t->a[NFTA_IMMEDIATE_DATA]), v = nested(in.a[NFTA_DATA_VERDICT]);
	struct reg g = { .kind = R_VALUE };
	int code = (int)u32(&v, NFTA_VERDICT_CODE);

	if (u32(t, NFTA_IMMEDIATE_DREG) != NFT_REG_VERDICT) {
		data(t->a[NFTA_IMMEDIATE_DATA], g.value);
		*reg(d, u32(t, NFTA_IMMEDIATE_DREG)) = g;
		return;
	}
	d->r->verdict = code == NF_ACCEPT ? NFT_V_ACCEPT : code == NF_DROP ? NFT_V_DROP : code == NFT_JUMP ? NFT_V_JUMP : NFT_V_NONE;
	/* NF_DROP is zero: what has no verdict at all must not be one. */
	d->r->other |= !d->r->verdict || !in.a[NFTA_DATA_VERDICT];
	text(v.a[NFTA_VERDICT_CHAIN], d->r->target, sizeof(d->r->target));
}

static void do_nat(struct decoder *d, const struct attrs *t)
{
	const struct reg *a = reg(d, u32(t, NFTA_NAT_REG_ADDR_MIN)), *p = reg(d, u32(t, NFTA_NAT_REG_PROTO_MIN));
	struct nft_rule *r = d->r;

	if (u32(t, NFTA_NAT_TYPE) != NFT_NAT_DNAT || a->kind != R_VALUE || p->kind != R_VALUE) {
		r->other = true;
		return;
	}
	r->verdict = NFT_V_DNAT;
	r->dnat.family = u32(t, NFTA_NAT_FAMILY) == NFPROTO_IPV6 ? AF_INET6 : AF_INET;
	memcpy(r->dnat.b, a->value, addr_size(&r->dnat));
	r->dnat_port = (uint16_t)(p->value[0] << 8 | p->value[1]);
}

static void do_expr(struct decoder *d, const struct nlattr *e)
{
	struct attrs head = nested(e), t = nested(head.a[NFTA_EXPR_DATA]);
	char name[32];

	text(head.a[NFTA_EXPR_NAME], name, sizeof(name));
	if (!strcmp(name, "meta"))
		do_meta(d, &t);
	else if (!strcmp(name, "cmp"))
		do_cmp(d, &t);
	else if (!strcmp(name, "payload"))
		do_payload(d, &t);
	else if (!strcmp(name, "bitwise"))
		do_bitwise(d, &t);
	else if (!strcmp(name, "range"))
		do_range(d, &t);
	else if (!strcmp(name, "immediate"))
		do_immediate(d, &t);
	else if (!strcmp(name, "ct") && t.a[NFTA_CT_DREG])
		*reg(d, u32(&t, NFTA_CT_DREG)) = (struct reg){ .kind = R_CT, .key = u32(&t, NFTA_CT_KEY) };
	else if (!strcmp(name, "fib") && u32(&t, NFTA_FIB_RESULT) == NFT_FIB_RESULT_ADDRTYPE && u32(&t, NFTA_FIB_FLAGS) == NFTA_FIB_F_DADDR)
		*reg(d, u32(&t, NFTA_FIB_DREG)) = (struct reg){ .kind = R_FIB };
	else if (!strcmp(name, "lookup") && reg(d, u32(&t, NFTA_LOOKUP_SREG))->key == NFT_META_L4PROTO)
		d->r->dns = true;
	else if (!strcmp(name, "nat"))
		do_nat(d, &t);
	else if (!strcmp(name, "masq"))
		d->r->verdict = NFT_V_MASQUERADE;
	else
		d->r->other = true;
}

/* ---- addresses, once the whole rule is known ---- */

static bool take_prefix(int family, unsigned char *val, unsigned char *mask, unsigned at, struct prefix *ret)
{
	struct prefix p = { .a.family = family };
	unsigned n = (unsigned)addr_size(&p.a);

	while (p.bits < n * 8 && mask[at + p.bits / 8] & 0x80 >> p.bits % 8)
		p.bits++;
	for (unsigned i = p.bits; i < n * 8; i++)
		if (mask[at + i / 8] & 0x80 >> i % 8)
			return false;
	memcpy(p.a.b, val + at, n);
	memset(mask + at, 0, n);
	if (p.bits)
		*ret = prefix_network(&p);
	return true;
}

static void take_addresses(struct decoder *d)
{
	static const unsigned char none[40];
	unsigned from = d->family == AF_INET6 ? 8 : 12, to = d->family == AF_INET6 ? 24 : 16;
	struct prefix not = { 0 };

	if (d->family && (!take_prefix(d->family, d->nh, d->nh_mask, from, &d->r->from) ||
			  !take_prefix(d->family, d->nh, d->nh_mask, to, &d->r->to) || !take_prefix(d->family, d->not, d->not_mask, to, &not)))
		d->r->other = true;
	if (not.a.family) {
		d->r->other |= d->r->to.a.family != 0;
		d->r->to = not;
		d->r->to_not = true;
	}
	/* Something else in the header, or header bytes of no known family. */
	if (memcmp(d->nh_mask, none, sizeof(none)) || memcmp(d->not_mask, none, sizeof(none)))
		d->r->other = true;
}

void nft_decode(const struct nlmsghdr *n, struct nft_rule *ret)
{
	struct attrs t = { { NULL } };
	struct decoder d = { .r = ret };
	const struct nlattr *e;

	memset(ret, 0, sizeof(*ret));
	(void)mnl_attr_parse(n, sizeof(struct nfgenmsg), attr_cb, &t);
	text(t.a[NFTA_RULE_CHAIN], ret->chain, sizeof(ret->chain));
	if (t.a[NFTA_RULE_HANDLE] && mnl_attr_get_payload_len(t.a[NFTA_RULE_HANDLE]) == 8) {
		const unsigned char *p = mnl_attr_get_payload(t.a[NFTA_RULE_HANDLE]);

		for (int i = 0; i < 8; i++)
			ret->handle = ret->handle << 8 | p[i];
	}
	if (t.a[NFTA_RULE_EXPRESSIONS])
		mnl_attr_for_each_nested(e, t.a[NFTA_RULE_EXPRESSIONS])
			do_expr(&d, e);
	take_addresses(&d);
}
