// Package fleet runs replicas of the scheduler as they run in production: each in a
// container of its own, on a network with a primary and a standby. Everything in it
// can be broken: a process, the network of one replica, a server, its disk, a clock.
//
//	f, err := fleet.New(ctx, fleet.Options{})
//	...
//	defer f.Close(ctx)
//	_, err = scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: f.AppURL()})
//	err = f.MakeRoles(ctx)
//	r, err := f.StartReplica(ctx, fleet.ReplicaOptions{ID: "first"})
//	...
//	err = r.Cut(ctx, fleet.Blackhole)
//
// What a replica runs is the program in the folder replica; what its jobs work on is
// [Tables]. It connects as the role that "scheduler roles" makes for replicas, with a URL that names
// both servers.
//
// # What is real
//
// Each server is a machine that stays up, with an address and a disk, and a postmaster
// that comes and goes: who connects while it is down is refused at once. The disk is
// memory of a limited size, so fsync, which is on, costs nothing. Packets are dropped
// where they arrive, not where they are sent, so the sender learns nothing of it.
//
// # What is not guaranteed
//
// A container ends with its process: when a replica is killed its connections are
// closed as usual, but a packet sent to it afterwards is answered by nobody.
//
// A process that is killed with its fleet running leaves containers, networks and
// volumes behind. The next one that uses this package or testdb removes them.
package fleet
