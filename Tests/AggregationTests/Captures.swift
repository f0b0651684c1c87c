// Captured text keeps its own lines.
// swift-format-ignore-file
/// Captures, as the programs and the kernel wrote them.
///
/// - `debian-12-…`: captured on Debian 12 (kernel 6.18, 2 processors, 24 GiB, no swap) from /proc and /etc, file by file.
/// - `coreutils-9.1-df`, `busybox-1.35.0-df`: captured on the same machine (Debian 12's coreutils and busybox-static), by
///   the two commands of `Vitals.Disk`, in a mount namespace with a mount with spaces, a device with a space and a mount
///   with a newline, a tmpfs under /run, one mounted over another (/dev/shm), and a full ext4 image mounted twice.
///   `debian-12-proc-mounts` is /proc/mounts of that same moment.
// swift-format-ignore: the captures stand as they came.
let captures: [String: String] = [
  "busybox-1.35.0-df": #"""
Filesystem           1024-blocks    Used Available Capacity Mounted on
/dev/vda             264212084  16282340  82783272  16% /
tmpfs                 12342040         0  12342040   0% /sys/fs/cgroup
devtmpfs              12334460         0  12334460   0% /dev
tmpfs                 24684084         0  24684084   0% /dev/shm
tmpfs                 24684084         0  24684084   0% /dev/shm
tmpfs                     1024         0      1024   0% /tmp/agg mnt/x y
we ird                    1024         0      1024   0% /tmp/agg mnt/n
l
tmpfs                     1024         0      1024   0% /run/aggtest
/dev/loop0                6588      6415         0 100% /tmp/aggext
/dev/loop0                6588      6415         0 100% /tmp/agg2 full
=blocks 0
Filesystem              Inodes      Used Available Capacity Mounted on
/dev/vda              16777216    424806  16352410   3% /
tmpfs                  3085510        11   3085499   0% /sys/fs/cgroup
devtmpfs               3083615       114   3083501   0% /dev
tmpfs                  3085510         1   3085509   0% /dev/shm
tmpfs                  3085510         1   3085509   0% /dev/shm
tmpfs                  3085510         1   3085509   0% /tmp/agg mnt/x y
we ird                 3085510         1   3085509   0% /tmp/agg mnt/n
l
tmpfs                  3085510         1   3085509   0% /run/aggtest
/dev/loop0                2048        12      2036   1% /tmp/aggext
/dev/loop0                2048        12      2036   1% /tmp/agg2 full
=inodes 0

"""#,
  "coreutils-9.1-df": #"""
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/vda         264212084 16282336  82783276      17% /
tmpfs             12342040        0  12342040       0% /sys/fs/cgroup
devtmpfs          12334460        0  12334460       0% /dev
tmpfs             24684084        0  24684084       0% /dev/shm
tmpfs                 1024        0      1024       0% /tmp/agg mnt/x y
we ird                1024        0      1024       0% /tmp/agg mnt/n?l
tmpfs                 1024        0      1024       0% /run/aggtest
/dev/loop0            6588     6415         0     100% /tmp/aggext
=blocks 0
Filesystem       Inodes  IUsed    IFree IUse% Mounted on
/dev/vda       16777216 424804 16352412    3% /
tmpfs           3085510     11  3085499    1% /sys/fs/cgroup
devtmpfs        3083615    114  3083501    1% /dev
tmpfs           3085510      1  3085509    1% /dev/shm
tmpfs           3085510      1  3085509    1% /tmp/agg mnt/x y
we ird          3085510      1  3085509    1% /tmp/agg mnt/n?l
tmpfs           3085510      1  3085509    1% /run/aggtest
/dev/loop0         2048     12     2036    1% /tmp/aggext
=inodes 0

"""#,
  "debian-12-os-release": #"""
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian

"""#,
  "debian-12-proc-boot-id": #"""
b17da1b7-28b4-4285-8b3b-4ecfcfea8eb8

"""#,
  "debian-12-proc-loadavg": #"""
2.36 1.74 0.95 1/171 14291

"""#,
  "debian-12-proc-meminfo": #"""
MemTotal:       24684084 kB
MemFree:        23009256 kB
MemAvailable:   24072412 kB
Buffers:           15044 kB
Cached:          1196256 kB
SwapCached:            0 kB
Active:           838200 kB
Inactive:         490244 kB
Active(anon):       1652 kB
Inactive(anon):   124472 kB
Active(file):     836548 kB
Inactive(file):   365772 kB
Unevictable:       21560 kB
Mlocked:           20540 kB
SwapTotal:             0 kB
SwapFree:              0 kB
Zswap:                 0 kB
Zswapped:              0 kB
Dirty:             38708 kB
Writeback:             0 kB
AnonPages:        138812 kB
Mapped:           136056 kB
Shmem:              8872 kB
KReclaimable:     140100 kB
Slab:             169660 kB
SReclaimable:     140100 kB
SUnreclaim:        29560 kB
KernelStack:        2728 kB
PageTables:         5236 kB
SecPageTables:         0 kB
NFS_Unstable:          0 kB
Bounce:                0 kB
WritebackTmp:          0 kB
CommitLimit:    12342040 kB
Committed_AS:     777328 kB
VmallocTotal:   34359738367 kB
VmallocUsed:       15500 kB
VmallocChunk:          0 kB
Percpu:              688 kB
AnonHugePages:         0 kB
ShmemHugePages:        0 kB
ShmemPmdMapped:        0 kB
FileHugePages:      8192 kB
FilePmdMapped:         0 kB
Balloon:               0 kB
HugePages_Total:       0
HugePages_Free:        0
HugePages_Rsvd:        0
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:               0 kB
DirectMap4k:       30720 kB
DirectMap2M:     2066432 kB
DirectMap1G:    25165824 kB

"""#,
  "debian-12-proc-mounts": #"""
/dev/vda / ext4 rw,relatime,discard,resv_strict,resuid=65534,resgid=65534 0 0
proc /proc proc rw,relatime 0 0
sysfs /sys sysfs rw,relatime 0 0
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/cpuacct cgroup rw,relatime,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/devices cgroup rw,relatime,devices 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0
cgroup /sys/fs/cgroup/blkio cgroup rw,relatime,blkio 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
devtmpfs /dev devtmpfs rw,relatime,size=12334460k,nr_inodes=3083615,mode=755 0 0
tmpfs /dev/shm tmpfs rw,relatime,size=24684084k 0 0
tmpfs /dev/shm tmpfs rw,relatime,size=24684084k 0 0
devpts /dev/pts devpts rw,relatime,mode=600,ptmxmode=000 0 0
devpts /dev/pts devpts rw,relatime,mode=600,ptmxmode=000 0 0
tmpfs /tmp/agg\040mnt/x\040y tmpfs rw,relatime,size=1024k 0 0
we\040ird /tmp/agg\040mnt/n\012l tmpfs rw,relatime,size=1024k 0 0
tmpfs /run/aggtest tmpfs rw,relatime,size=1024k 0 0
/dev/loop0 /tmp/aggext ext4 rw,relatime 0 0
/dev/loop0 /tmp/agg2\040full ext4 rw,relatime 0 0

"""#,
  "debian-12-proc-stat": #"""
cpu  53676 2 13917 386825 1790 0 166 48 0 0
cpu0 24418 1 6345 197211 148 0 50 23 0 0
cpu1 29258 1 7572 189613 1642 0 115 24 0 0
intr 569285 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 15 0 0 0 0 457 182 0 49 1 138083 0 610 439 0 4250 7836 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
ctxt 1112323
btime 1795237101
processes 46737
procs_running 2
procs_blocked 0
softirq 527175 0 68726 4 44561 138083 0 2 92479 2 183318

"""#,
  "debian-12-proc-uptime": #"""
2287.21 3868.25

"""#,
  "debian-12-proc-vmstat": #"""
nr_free_pages 882349
nr_free_pages_blocks 798208
nr_zone_inactive_anon 31118
nr_zone_active_anon 413
nr_zone_inactive_file 91443
nr_zone_active_file 209137
nr_zone_unevictable 5390
nr_zone_write_pending 9664
nr_mlock 5135
nr_zspages 0
nr_free_cma 0
numa_hit 20587962
numa_miss 0
numa_foreign 0
numa_interleave 1132
numa_local 20587962
numa_other 0
nr_inactive_anon 31118
nr_active_anon 413
nr_inactive_file 91443
nr_active_file 209137
nr_unevictable 5390
nr_slab_reclaimable 35025
nr_slab_unreclaimable 7390
nr_isolated_anon 0
nr_isolated_file 0
workingset_nodes 13303
workingset_refault_anon 0
workingset_refault_file 1106428
workingset_activate_anon 0
workingset_activate_file 364503
workingset_restore_anon 0
workingset_restore_file 0
workingset_nodereclaim 0
nr_anon_pages 34703
nr_mapped 34014
nr_file_pages 302825
nr_dirty 9677
nr_writeback 0
nr_shmem 2218
nr_shmem_hugepages 0
nr_shmem_pmdmapped 0
nr_file_hugepages 4
nr_file_pmdmapped 0
nr_anon_transparent_hugepages 0
nr_vmscan_write 0
nr_vmscan_immediate_reclaim 7333
nr_dirtied 434812
nr_written 369242
nr_throttled_written 0
nr_kernel_misc_reclaimable 0
nr_foll_pin_acquired 0
nr_foll_pin_released 0
nr_kernel_stack 2728
nr_page_table_pages 1334
nr_sec_page_table_pages 0
nr_iommu_pages 0
nr_swapcached 0
pgpromote_success 0
pgpromote_candidate 0
pgpromote_candidate_nrl 0
pgdemote_kswapd 0
pgdemote_direct 0
pgdemote_khugepaged 0
pgdemote_proactive 0
nr_hugetlb 0
nr_balloon_pages 0
nr_kernel_file_pages 0
nr_dirty_threshold 1204053
nr_dirty_background_threshold 601291
nr_memmap_pages 0
nr_memmap_boot_pages 98304
pgpgin 5918501
pgpgout 1608304
pswpin 0
pswpout 0
pgalloc_dma 0
pgalloc_dma32 0
pgalloc_normal 21054418
pgalloc_movable 0
pgalloc_device 0
allocstall_dma 0
allocstall_dma32 0
allocstall_normal 0
allocstall_movable 0
allocstall_device 0
pgskip_dma 0
pgskip_dma32 0
pgskip_normal 0
pgskip_movable 0
pgskip_device 0
pgfree 21966399
pgactivate 460738
pgdeactivate 0
pglazyfree 0
pgfault 24852771
pgmajfault 7591
pglazyfreed 0
pgrefill 0
pgreuse 621941
pgsteal_kswapd 0
pgsteal_direct 0
pgsteal_khugepaged 0
pgsteal_proactive 0
pgscan_kswapd 0
pgscan_direct 0
pgscan_khugepaged 0
pgscan_proactive 0
pgscan_direct_throttle 0
pgscan_anon 0
pgscan_file 0
pgsteal_anon 0
pgsteal_file 0
zone_reclaim_success 0
zone_reclaim_failed 0
pginodesteal 0
slabs_scanned 291
kswapd_inodesteal 0
kswapd_low_wmark_hit_quickly 0
kswapd_high_wmark_hit_quickly 0
pageoutrun 0
pgrotated 6546
drop_pagecache 1
drop_slab 2
oom_kill 0
numa_pte_updates 0
numa_huge_pte_updates 0
numa_hint_faults 0
numa_hint_faults_local 0
numa_pages_migrated 0
pgmigrate_success 0
pgmigrate_fail 0
thp_migration_success 0
thp_migration_fail 0
thp_migration_split 0
compact_migrate_scanned 0
compact_free_scanned 0
compact_isolated 0
compact_stall 0
compact_fail 0
compact_success 0
compact_daemon_wake 0
compact_daemon_migrate_scanned 0
compact_daemon_free_scanned 0
htlb_buddy_alloc_success 0
htlb_buddy_alloc_fail 0
unevictable_pgs_culled 29754
unevictable_pgs_scanned 0
unevictable_pgs_rescued 24363
unevictable_pgs_mlocked 29658
unevictable_pgs_munlocked 24522
unevictable_pgs_cleared 0
unevictable_pgs_stranded 0
thp_fault_alloc 0
thp_fault_fallback 0
thp_fault_fallback_charge 0
thp_collapse_alloc 0
thp_collapse_alloc_failed 0
thp_file_alloc 0
thp_file_fallback 0
thp_file_fallback_charge 0
thp_file_mapped 121
thp_split_page 0
thp_split_page_failed 0
thp_deferred_split_page 0
thp_underused_split_page 0
thp_split_pmd 0
thp_scan_exceed_none_pte 0
thp_scan_exceed_swap_pte 0
thp_scan_exceed_share_pte 0
thp_split_pud 0
thp_zero_page_alloc 0
thp_zero_page_alloc_failed 0
thp_swpout 0
thp_swpout_fallback 0
balloon_inflate 0
balloon_deflate 0
balloon_migrate 0
swap_ra 0
swap_ra_hit 0
swpin_zero 0
swpout_zero 0
ksm_swpin_copy 0
cow_ksm 0
zswpin 0
zswpout 0
zswpwb 0
direct_map_level2_splits 5
direct_map_level3_splits 0
direct_map_level2_collapses 0
direct_map_level3_collapses 0
nr_unstable 0

"""#,
  "debian-12-proc-self-smaps": #"""
563c5bcf5000-563c5bcf6000 r--p 00000000 fe:00 20504                      /root/.pyenv/versions/3.11.7/bin/python3.11
Size:                  4 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   4 kB
Pss:                   4 kB
Pss_Dirty:             0 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         4 kB
Private_Dirty:         0 kB
Referenced:            4 kB
Anonymous:             0 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB

"""#,
]
