"""What the proxies of Debian are told. Each does less than Toolbooth: see `bench/README.md`."""

from pathlib import Path

from configurations import Setting


def squid_config(setting: Setting, root: Path) -> str:
    """No cache, one allowed destination, one line a call."""
    return f"""\
http_port 127.0.0.1:{setting.port}
acl here dst 127.0.0.1
acl upstream port {setting.upstream_port}
http_access allow here upstream
http_access deny all
cache deny all
cache_mem 0 MB
memory_cache_shared off
access_log stdio:{setting.scratch}/squid-access.log
cache_log {setting.scratch}/squid-cache.log
cache_store_log none
pid_filename none
coredump_dir none
mime_table {root}/usr/share/squid/mime.conf
icon_directory {root}/usr/share/squid/icons
error_directory {root}/usr/share/squid-langpack/en
unlinkd_program {root}/usr/lib/squid/unlinkd
pinger_enable off
visible_hostname bench
shutdown_lifetime 1 second
max_filedescriptors 8192
"""


def tinyproxy_config(setting: Setting) -> str:
    """Its only limits: one port to CONNECT to, one client address."""
    return f"""\
Port {setting.port}
Listen 127.0.0.1
Timeout 60
MaxClients 2000
Allow 127.0.0.1
ConnectPort {setting.upstream_port}
LogFile "{setting.scratch}/tinyproxy.log"
LogLevel Connect
"""


def nginx_config(setting: Setting) -> str:
    """A reverse proxy to one upstream: with a variable destination it keeps no connections."""
    return f"""\
daemon off;
master_process off;
user root;
pid {setting.scratch}/nginx.pid;
error_log {setting.scratch}/nginx-error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  log_format calls escape=json '{{"ts":"$time_iso8601","call_id":"$request_id","method":"$request_method",'
    '"host":"$http_host","path":"$uri","status":$status,"total_s":$request_time,'
    '"request_bytes":$request_length,"response_bytes":$bytes_sent}}';
  access_log {setting.scratch}/nginx.jsonl calls;
  limit_req_zone $server_name zone=calls:1m rate=1000000r/s;
  keepalive_requests 1000000000;
  client_body_temp_path {setting.scratch}/nginx-body;
  proxy_temp_path {setting.scratch}/nginx-proxy;
  fastcgi_temp_path {setting.scratch}/nginx-fastcgi;
  uwsgi_temp_path {setting.scratch}/nginx-uwsgi;
  scgi_temp_path {setting.scratch}/nginx-scgi;
  upstream tool {{ server {setting.authority}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{setting.port} backlog=1024;
    if ($http_host != "{setting.authority}") {{ return 403; }}
    location / {{
      limit_req zone=calls burst=100000 nodelay;
      proxy_pass http://tool;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }}
  }}
}}
"""  # noqa: E501


def haproxy_config(setting: Setting) -> str:
    """One upstream, one line a call on standard output, which is a file here."""
    return f"""\
global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 2s
  timeout client 75s
  timeout server 15s
  http-reuse always
frontend calls
  bind 127.0.0.1:{setting.port}
  acl known hdr(host) {setting.authority}
  http-request deny unless known
  default_backend tool
backend tool
  server tool {setting.authority}
"""
