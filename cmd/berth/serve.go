package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/configs"
)

const (
	// stopGrace bounds how long a stopping Berth waits for open answers.
	stopGrace = 10 * time.Second
	// readHeaderTimeout and idleTimeout keep slow clients from holding
	// connections for ever.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
)

// newServe is `berth serve`.
func newServe() *cobra.Command {
	var path, level, format string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the bot: take commands, and carry them out",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(os.Stderr, level, format)
			if err != nil {
				return usageError(err)
			}
			redis.SetLogger(redisLog{log})
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			// Who asks a second time while it stops does not want to wait.
			context.AfterFunc(ctx, stop)
			return serve(ctx, path, log)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfigPath(), "the config file")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	return cmd
}

// defaultConfigPath is BERTH_CONFIG, else berth.yaml here.
func defaultConfigPath() string {
	if path := os.Getenv("BERTH_CONFIG"); path != "" {
		return path
	}
	return "berth.yaml"
}

// newLog makes the log that everything is handed.
func newLog(w *os.File, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is not one of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, fmt.Errorf("--log-format %q is not one of text, json", format)
	}
}

// serve runs Berth with the config at path until ctx ends.
func serve(ctx context.Context, path string, log *slog.Logger) error {
	cfg, apps, err := loadConfig(path)
	if err != nil {
		return err
	}
	values, err := readSecrets(cfg)
	if err != nil {
		return err
	}
	s, err := newServer(ctx, path, cfg, apps, values, log)
	if err != nil {
		return err
	}
	defer s.close()
	return s.run(ctx)
}

// run listens and works until ctx ends, then stops in order: no new commands,
// then the work at a safe point, then the plugins, then the store.
func (s *server) run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Server.Listen)
	if err != nil {
		return usageError(fmt.Errorf("server.listen: %w; set another address, or stop what has this one", err))
	}
	s.addr.Store(listener.Addr().String())
	s.log.Info("listening", "addr", listener.Addr().String(), "version", version)

	httpServer := &http.Server{
		Handler: s.routes(), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := httpServer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("http server: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		s.stopping.Store(true)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		return httpServer.Shutdown(grace)
	})
	group.Go(func() error { return s.host.Start(ctx, s.apps.uses()) })
	group.Go(func() error { return s.worker.Run(ctx) })
	group.Go(func() error { return s.watch(ctx) })
	group.Go(func() error {
		s.noteConfig(ctx, []string{"start"})
		return s.followConfig(ctx)
	})
	group.Go(func() error { return s.agree(ctx) })
	group.Go(func() error { s.clock.Follow(ctx); return nil })
	group.Go(func() error { s.store.Anchoring(ctx); return nil })
	if s.github != nil {
		group.Go(func() error { return s.github.Run(ctx) })
	}
	s.chats.run(ctx, group)
	s.itself.run(ctx, group)
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	s.log.Info("stopped")
	return err
}

// redisLog passes on what the Redis client says of its connections. Whether
// Redis is there is told by /readyz; this is the detail.
type redisLog struct{ log *slog.Logger }

// Printf logs one line.
func (r redisLog) Printf(ctx context.Context, format string, v ...any) {
	r.log.DebugContext(ctx, "redis client", "detail", fmt.Sprintf(format, v...))
}

// usageError marks an error as the user's: exit code 2.
func usageError(err error) error { return &exitError{code: exitUsage, err: err} }

// publicURL is how people reach the server.
func publicURL(c *configs.Config) string {
	if c.Server.PublicURL != "" {
		return c.Server.PublicURL
	}
	return "http://" + c.Server.Listen
}
