/* common/conf/containers.h: containers.conf(5), all files merged into one tree. */
#pragma once
#include "common/data/json.h"

struct hoy_err;

/*
 * Read /usr/share/containers/containers.conf, /etc/containers/containers.conf, its drop-ins, the user's (rootless), and
 * CONTAINERS_CONF_OVERRIDE; or only CONTAINERS_CONF. Later files win member by member; arrays are replaced, or appended
 * to where they contain {append=true}. DOC's root is an object, empty if there is no file.
 */
int hoy_containers_conf_load(struct hoy_json_doc *doc, struct hoy_err *err);
