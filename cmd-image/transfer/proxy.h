/* cmd-image/transfer/proxy.h: which proxy libcurl takes for a host, by the environment. */
#pragma once
#include <stdbool.h>

/*
 * What podman and skopeo do, and curl doesn't: HTTP_PROXY counts too (but for a CGI program, which gets it from strangers), and
 * this machine is never reached through a proxy. Changes the environment; before there are threads.
 */
int proxy_env(void);
/*
 * The proxy for HOST ("name[:port]"), with https or without; NULL: none. *RET_VAR is the variable that says so, or that
 * (*_proxy being set) excepts HOST, or NULL.
 */
const char *proxy_for(const char *host, bool https, const char **ret_var);
