/* cmd-net/net.h: what the files of hoy-net share. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/data/json.h"

struct hoy_err;
struct mnl_socket;

/* ---- input.c, addr.c: netavark's JSON, checked ---- */

struct addr {
	int family; /* AF_INET, AF_INET6; 0: none */
	unsigned char b[16];
};
struct prefix {
	struct addr a;
	unsigned bits;
};
#define ADDR_TEXT 64 /* room for an address or a prefix as text */

int addr_parse(const char *text, struct addr *ret);
/* "10.0.0.0/8"; host bits are kept. */
int prefix_parse(const char *text, struct prefix *ret);
struct prefix prefix_network(const struct prefix *p);
bool prefix_holds(const struct prefix *p, const struct addr *a);
const char *addr_text(const struct addr *a, char buf[ADDR_TEXT]);
const char *prefix_text(const struct prefix *p, char buf[ADDR_TEXT]);
static inline size_t addr_size(const struct addr *a) { return a->family == 2 ? 4 : 16; }

enum isolate { ISOLATE_NEVER, ISOLATE_NORMAL, ISOLATE_STRICT };

struct subnet {
	struct prefix net; /* without host bits */
	struct addr gateway;
};
struct route {
	struct prefix to;
	struct addr via;
	unsigned char type; /* RTN_* */
	uint32_t metric;    /* 0: the kernel's */
};
struct port {
	unsigned host, inner, count;
	const char *proto;
	struct addr ip;	 /* none: any */
	int only;	 /* the family that a wildcard address names; 0: both */
	const struct hoy_json *json;
};
struct address {
	struct prefix at;
	const struct subnet *of;
};

struct network {
	const char *name, *id, *bridge, *ifname, *host_ifname;
	bool internal, dns, unmanaged, no_default_route, has_mac, six;
	enum isolate isolate;
	uint32_t mtu, metric;
	unsigned vlan;
	unsigned char mac[6];
	struct subnet *subnets;
	struct route *routes;
	struct address *ips;
	size_t n_subnets, n_routes, n_ips;
	const struct hoy_json *info, *opts;
	int host_index; /* of the end outside */
	/* What this setup has made, and would have to undo. */
	bool made_bridge, made_link, made_rules;
};

struct request {
	struct hoy_json_doc doc;
	const char *id, *name;
	struct port *ports;
	struct network *nets;
	size_t n_ports, n_nets;
	const struct hoy_json *dns_servers;
	unsigned dns_port;
	/* From the command line. */
	const char *config, *aardvark;
	bool rootless, firewall, lazy;
};

/* Fill R from TEXT; for a teardown what only setup needs may be missing. */
int request_parse(struct request *r, const char *text, size_t len, bool setup, struct hoy_err *err);
/* One network's definition alone, as in /etc/containers/networks. */
int request_parse_network(struct request *r, const char *text, size_t len, struct hoy_err *err);
void request_release(struct request *r);

/* ---- netlink.c: one rtnetlink socket, several messages per system call ---- */

struct nlmsghdr;
struct nl {
	struct mnl_socket *sock;
	unsigned seq, port;
	size_t len;
	int error;	  /* of what had to be sent early */
	char buf[16384];  /* messages to send */
	char note[256];	  /* the kernel's own words for the last error */
};
int nl_open(struct nl *nl);
void nl_close(struct nl *nl);
/* Start a message of TYPE with a zeroed header of HDRLEN behind it (*RET_HDR); add attributes with mnl_attr_put*(). */
struct nlmsghdr *nl_start(struct nl *nl, unsigned type, unsigned flags, size_t hdrlen, void *ret_hdr);
/* The message is complete. */
void nl_end(struct nl *nl, struct nlmsghdr *n);
/* Send all messages; 0, or the first error, after all have been answered. */
int nl_send(struct nl *nl);
/* Send one message and hand each answer to CB, until CB returns nonzero or the answers end. */
int nl_ask(struct nl *nl, int (*cb)(const struct nlmsghdr *, void *), void *arg);

/* ---- link.c: interfaces, addresses, routes ---- */

struct link {
	int index, peer, master;
	uint32_t mtu;
	unsigned char mac[6];
	char name[16], kind[16];
	bool vlan_filtering;
};
/* By NAME, or by INDEX if NAME is NULL; -ENODEV. */
int link_get(struct nl *nl, const char *name, int index, struct link *ret);
int link_delete(struct nl *nl, const char *name);
/* How many interfaces have MASTER; or -errno. */
int link_count_ports(struct nl *nl, int master);
/* MTU of the interface with the default route; 0 if there is none. */
uint32_t link_default_mtu(struct nl *nl);
void link_put_up(struct nl *nl, int index);
void link_put_address(struct nl *nl, int index, const struct prefix *p);
void link_put_route(struct nl *nl, const struct route *r);

/* ---- bridge.c ---- */

/* The host's side: the bridge if it is missing, the veth with its end in NETNS. */
int bridge_setup(struct nl *nl, struct network *n, int netns, struct hoy_err *err);
/* The container's side; the process is in its namespace, as is NL's socket. *RET_HOST: index of the end outside. */
int bridge_inside(struct nl *nl, struct network *n, int *ret_host, struct hoy_err *err);
/* What must be said about the end outside, once the one inside is known. */
int bridge_outside(struct nl *nl, struct network *n, int host, struct hoy_err *err);
/* Remove the bridge if nothing is attached to it; 1: it is gone. */
int bridge_remove(struct nl *nl, const struct network *n, struct hoy_err *err);

int sysctl_set(const char *value, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- firewall.c ---- */

int firewall_setup(const struct request *r, struct network *n, struct hoy_err *err);
int firewall_teardown(const struct request *r, const struct network *n, bool whole, struct hoy_err *err);

/* ---- state.c: the lock, netavark's files for a reload of the firewall, its answer ---- */

int state_lock(const struct request *r, struct hoy_err *err);
int state_write(const struct request *r, const struct network *n, struct hoy_err *err);
void state_remove(const struct request *r, const struct network *n, bool whole);
void status_write(const struct request *r, struct hoy_buf *out);
