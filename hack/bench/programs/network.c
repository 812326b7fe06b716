// network setup NETNS BRIDGE INDEX | network teardown INDEX: the kernel's own price of a container's network: the netlink
// calls of `pinnace network setup` and `teardown` for one published port, and nothing else. The table of the latter is there.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[65536];
static int length;
static unsigned sequence = 1;
static struct nlmsghdr *header;

static void fail(const char *what, int error) {
  fprintf(stderr, "%s: %s\n", what, strerror(error));
  exit(1);
}

static void message(int type, int flags, const void *fixed, int size) {
  header = (struct nlmsghdr *)(buffer + length);
  *header = (struct nlmsghdr){.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = sequence++};
  memcpy(header + 1, fixed, size);
  length += NLMSG_SPACE(size);
  header->nlmsg_len = buffer + length - (char *)header;
}

static int attribute(int type, const void *value, int size) {
  int start = length;
  unsigned short head[] = {4 + size, type};
  memcpy(buffer + length, head, 4);
  memset(buffer + length + 4, 0, NLMSG_ALIGN(size));
  memcpy(buffer + length + 4, value, size);
  length += 4 + NLMSG_ALIGN(size);
  header->nlmsg_len = buffer + length - (char *)header;
  return start;
}

static int nest(int type) { return attribute(type | NLA_F_NESTED, "", 0); }
static void end(int start) { *(unsigned short *)(buffer + start) = length - start; }

static int open_socket(int protocol) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (bind(fd, (void *)&address, sizeof address)) exit(1);
  return fd;
}

// Sends what there is; the first refusal ends the program.
static void send_all(const char *what, int fd, int answers) {
  static char answer[65536];
  if (send(fd, buffer, length, 0) < 0) fail(what, 0);
  length = 0;
  while (answers > 0) {
    int size = recv(fd, answer, sizeof answer, 0);
    for (struct nlmsghdr *m = (void *)answer; NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
      if (m->nlmsg_type == NLMSG_ERROR && *(int *)(m + 1)) fail(what, -*(int *)(m + 1));
      if (m->nlmsg_type == NLMSG_ERROR || m->nlmsg_type == NLMSG_DONE) answers--;
    }
  }
}

// A port of one family: TCP and the number to the address and port 80.
static void element(int type, const char *map, int port, const void *address, int size) {
  struct nfgenmsg fixed = {.nfgen_family = NFPROTO_INET};
  unsigned char key[8] = {6, 0, 0, 0, port >> 8, port}, value[20] = {0};
  message(NFNL_SUBSYS_NFTABLES << 8 | type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0, &fixed, 4);
  attribute(NFTA_SET_ELEM_LIST_TABLE, "pinnace", 8);
  attribute(NFTA_SET_ELEM_LIST_SET, map, 5);
  int list = nest(NFTA_SET_ELEM_LIST_ELEMENTS), one = nest(1), data = nest(NFTA_SET_ELEM_KEY);
  attribute(NFTA_DATA_VALUE, key, 8);
  end(data);
  if (type == NFT_MSG_NEWSETELEM) {
    memcpy(value, address, size);
    value[size + 1] = 80;
    data = nest(NFTA_SET_ELEM_DATA);
    attribute(NFTA_DATA_VALUE, value, size + 4);
    end(data);
  }
  end(one), end(list);
}

static void ports(int type, int port, const void *four, const void *six) {
  struct nfgenmsg fixed = {.res_id = htons(NFNL_SUBSYS_NFTABLES)};
  message(NFNL_MSG_BATCH_BEGIN, 0, &fixed, 4);
  element(type, "any4", port, four, 4);
  element(type, "any6", port, six, 16);
  header->nlmsg_flags |= NLM_F_ACK;
  message(NFNL_MSG_BATCH_END, 0, &fixed, 4);
  send_all("elements", open_socket(NETLINK_NETFILTER), 1);
}

static void address(int family, int prefix, const void *value, int size) {
  struct ifaddrmsg fixed = {family, prefix, family == AF_INET6 ? IFA_F_NODAD : 0, 0, 2};
  message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &fixed, sizeof fixed);
  attribute(IFA_LOCAL, value, size), attribute(IFA_ADDRESS, value, size);
}

static void route(int family, const void *gateway, int size) {
  struct rtmsg fixed = {.rtm_family = family, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = 4, .rtm_type = 1};
  unsigned index = 2;
  message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &fixed, sizeof fixed);
  attribute(RTA_GATEWAY, gateway, size), attribute(RTA_OIF, &index, 4);
}

static void up(int index) {
  struct ifinfomsg fixed = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  message(RTM_NEWLINK, NLM_F_ACK, &fixed, sizeof fixed);
}

int main(int count, char **words) {
  int index = atoi(words[count - 1]), port = 20000 + index, route_socket = open_socket(NETLINK_ROUTE);
  unsigned char four[] = {10, 66, 0, 2 + index}, six[16] = {0xfd, 0x66, [15] = 2 + index};
  unsigned char gateway[] = {10, 66, 0, 1}, gateway6[16] = {0xfd, 0x66, [15] = 1}, mac[] = {2, 0x42, 10, 66, 0, 2 + index};
  char name[16];
  snprintf(name, sizeof name, "floor%d", index);
  if (!strcmp(words[1], "teardown")) {
    struct nfgenmsg all = {0};
    struct ifinfomsg fixed = {0};
    ports(NFT_MSG_DELSETELEM, port, four, six);
    message(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_DUMP, &all, 4);
    send_all("connections", open_socket(NETLINK_NETFILTER), 1);
    message(RTM_DELLINK, NLM_F_ACK, &fixed, sizeof fixed);
    attribute(IFLA_IFNAME, name, strlen(name) + 1);
    send_all("remove the veth", route_socket, 1);
    return 0;
  }
  int there = open(words[2], O_RDONLY | O_CLOEXEC), home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (setns(there, CLONE_NEWNET)) fail("setns", 0);
  int inside = open_socket(NETLINK_ROUTE);
  if (setns(home, CLONE_NEWNET)) fail("setns", 0);
  unsigned bridge = if_nametoindex(words[3]), mtu = 1500;
  struct ifinfomsg host = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, none = {0};
  message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &host, sizeof host);
  attribute(IFLA_IFNAME, name, strlen(name) + 1), attribute(IFLA_MTU, &mtu, 4), attribute(IFLA_MASTER, &bridge, 4);
  int info = nest(IFLA_LINKINFO);
  attribute(IFLA_INFO_KIND, "veth", 5);
  int data = nest(IFLA_INFO_DATA), peer = nest(VETH_INFO_PEER);
  memcpy(buffer + length, &none, sizeof none);
  length += sizeof none;
  attribute(IFLA_IFNAME, "eth0", 5), attribute(IFLA_MTU, &mtu, 4), attribute(IFLA_ADDRESS, mac, 6);
  attribute(IFLA_NET_NS_FD, &there, 4);
  end(peer), end(data), end(info);
  send_all("make the veth", route_socket, 1);
  up(1);
  address(AF_INET, 24, four, 4), address(AF_INET6, 64, six, 16);
  up(2);
  route(AF_INET, gateway, 4), route(AF_INET6, gateway6, 16);
  send_all("inside", inside, 6);
  ports(NFT_MSG_NEWSETELEM, port, four, six);
  return 0;
}
