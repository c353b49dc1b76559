//go:build unix

package control

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"syscall"
)

// owners names a file's user and group, by number where they have no name.
func owners(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	owner, group := strconv.Itoa(int(stat.Uid)), strconv.Itoa(int(stat.Gid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Sprintf(", of user %s and group %s", owner, group)
}
