package daemon

import (
	"fmt"

	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/features/mld/bridge"
	"github.com/cxtp/cxtp/internal/config"
)

// openMulticast opens the multicast of the links that the configuration names.
func openMulticast(m *config.Multicast) (mld.Backend, error) {
	if len(m.Interfaces) == 0 {
		return mld.NewMemory(m.Prefixes), nil
	}
	links, err := bridge.New(bridge.Config{Interfaces: m.Interfaces, Report: m.Report})
	if err != nil {
		return nil, fmt.Errorf("multicast.interfaces: %w", err)
	}
	return links, nil
}
